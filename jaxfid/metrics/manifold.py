"""Precision, recall, density, coverage, realism: balls around features, and what falls inside."""

import dataclasses
from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Float64, Int, Shaped

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import BLOCK_SIZE, Block, Features, UncheckedFeatures, check_features
from jaxfid.metrics.distances import (
    CentredFeatures,
    Points,
    find_centre,
    inner_products,
    screened_distances,
    screening_error,
    screening_products,
    screening_scale,
    squared_distances,
)
from jaxfid.metrics.neighbours import neighbour_distances
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.metrics.registry import DEFAULT, MetricOption, MetricSpec
from jaxfid.result import MetricValue

METRICS = ("precision", "recall", "density", "coverage", "realism")

_BY_DENSITY_K = {"density", "coverage"}
_FEW = 64
"""Images of one block that are looked at again without the others of it."""

_PER_REFERENCE = {"recall", "coverage"}  # the others are per generated image
_JOIN = {
    "precision": np.logical_or,
    "recall": np.logical_or,
    "density": np.add,
    "coverage": np.logical_or,
    "realism": np.maximum,
}
"""How what was found in two blocks of pairs becomes what there is in both."""

NO_STDERR = {
    "recall": "the balls are made from the generated sample; leaving one image out gives an error "
    "31 to 87 % too large in simulations",
    "coverage": "leaving one image out gives an error 17 to 61 % too large in simulations",
}
"""Why these have no standard error, as `scripts/bench/standard_errors.py` finds."""


Radii = Mapping[str, Float64[np.ndarray | Array, " _"]]
"""Squared radii per metric: of the generated balls for recall, of the reference balls for others."""


@dataclasses.dataclass(frozen=True)
class ManifoldScores:
    """How two sets cover each other, by balls that reach from an image to its k-th neighbour.

    What was not asked for is None.

    Attributes:
      precision: Share of generated images inside some reference ball, 0 to 1.
      precision_stderr: Its standard error from the sampling of the generated images, the reference
        held fixed.
      recall: Share of reference images inside some generated ball, 0 to 1. It has no standard
        error: see `NO_STDERR`.
      density: Reference balls around a generated image, on average, over k. Equal distributions
        give about 1; more is possible.
      density_stderr: Its standard error, as for precision.
      coverage: Share of reference balls with a generated image inside, 0 to 1. It has no standard
        error: see `NO_STDERR`.
      realism: Per generated image, the largest ratio of a reference ball's radius to the distance
        from its centre, over the half of the balls that are smallest. 1 or more is inside one; a
        copy of a reference image scores about 1e6.
    """

    precision: float | None = None
    precision_stderr: float | None = None
    recall: float | None = None
    density: float | None = None
    density_stderr: float | None = None
    coverage: float | None = None
    realism: Float64[np.ndarray, " n"] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )


def manifold_scores(
    reference_features: UncheckedFeatures,
    generated_features: UncheckedFeatures,
    *,
    metrics: Collection[str] = METRICS,
    precision_k: int = 3,
    density_k: int = 5,
    reference_neighbours: Float64[np.ndarray, "_ _"] | None = None,
    block_size: int = BLOCK_SIZE,
) -> ManifoldScores:
    """Returns those of precision, recall, density, coverage and realism that are asked for.

    Precision, recall and realism are those of Kynkaanniemi et al. 2019: balls to the
    `precision_k`-th neighbour with their surface (`<=`), as in torch-fidelity and ADM's evaluator.
    Density and coverage are those of Naeem et al. 2020: balls to the `density_k`-th neighbour
    without it (`<`), as in prdc and dgm-eval, which leave it out of precision and recall as well;
    dgm-eval takes the fifth neighbour for all four. Realism is the ratio of distances, as
    published; its authors' code divides the squared ones.

    The same words mean other numbers elsewhere: torch-fidelity and StyleGAN's `pr50k3` print
    precision and recall of VGG16's features, ADM of Inception's pool3.

    Counts are of float64 distances, exact but for ties (`distances.ROUNDING`). torch-fidelity
    compares float32 ones, ADM's evaluator float16 ones where they are finite: their counts may
    differ by the images that lie on a surface to that precision.

    Each pair's distance is computed once, in blocks: extra memory is a few blocks, and a few
    numbers per image.

    Args:
      reference_features: Features of the reference images, `(m, d)`.
      generated_features: Features of the generated images, `(n, d)`.
      metrics: Which of `METRICS`. A set needs as many images as these ask of it, and no more.
      precision_k: Which neighbour a ball reaches to, for precision, recall and realism.
      density_k: The same for density and coverage.
      reference_neighbours: What `neighbour_distances` gives for the reference and a k no smaller
        than those that are needed, kept where several sets are scored against it.
      block_size: Rows per block: time and memory, not the result.

    Raises:
      InputError: The features are not finite floating matrices of one width with more than k rows,
        a k is below 1, there is no such metric, or `reference_neighbours` has another shape.
    """
    ks = {name: density_k if name in _BY_DENSITY_K else precision_k for name in metrics}
    _check(ks, reference_features, generated_features)
    radii = _find_radii(
        ks, reference_features, generated_features, reference_neighbours, block_size
    )
    cover = _cover(reference_features, generated_features, radii, block_size)
    return _scores(cover, density_k)


def _find_radii(
    ks: Mapping[str, int],
    reference_features: Features,
    generated_features: Features,
    reference_neighbours: Float64[np.ndarray, "_ _"] | None,
    block_size: int,
) -> Radii:
    """Returns the squared radii that each metric asks for, from as few neighbours as will do."""
    radii: dict[str, Float64[np.ndarray, " _"]] = {}
    if "recall" in ks:
        k = ks["recall"]
        nearest = neighbour_distances(generated_features, k=k, block_size=block_size)
        radii["recall"] = nearest[:, -1]
    of_reference = {name: k for name, k in ks.items() if name != "recall"}
    if not of_reference:
        return radii
    # The nearest k hold the nearest of every smaller k: one search serves all metrics.
    k = max(of_reference.values())
    if reference_neighbours is None:
        reference_neighbours = neighbour_distances(reference_features, k=k, block_size=block_size)
    _check_neighbours(reference_neighbours, len(reference_features), k)
    radii |= {name: reference_neighbours[:, k - 1] for name, k in of_reference.items()}
    if "realism" in radii:
        radii["realism"] = _keep_smaller_half(radii["realism"])
    return radii


def _check(
    ks: Mapping[str, int],
    reference_features: UncheckedFeatures,
    generated_features: UncheckedFeatures,
) -> None:
    if unknown := sorted(set(ks) - set(METRICS)):
        raise InputError(f"metrics: expected some of {', '.join(METRICS)}, found {unknown}")
    if min(ks.values(), default=1) < 1:
        raise InputError(f"precision_k, density_k: expected 1 or more, found {dict(ks)}")
    check_features(1, reference_features=reference_features, generated_features=generated_features)
    for name, k in ks.items():
        side = "generated" if name == "recall" else "reference"
        count = len(generated_features if name == "recall" else reference_features)
        if count <= k:
            raise InputError(
                f"{side}_features: expected at least {k + 1} images for {name} with k = {k}, "
                f"found {count}"
            )


def _check_neighbours(neighbours: Float64[np.ndarray, "_ _"], num_images: int, k: int) -> None:
    if neighbours.shape[0] != num_images or neighbours.shape[1] < k:
        raise InputError(
            f"reference_neighbours: expected shape ({num_images}, {k} or more), found "
            f"{neighbours.shape}; make them with neighbour_distances(reference_features, k={k})"
        )


def _keep_smaller_half(radii: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """Returns the radii with those above the median at 0, which hold nothing."""
    # Two images that are each other's k-th neighbour have one radius, but for rounding.
    median = np.median(radii) * (1 + 1e-9)
    return np.where(radii <= median, radii, 0)


def _cover(
    reference_features: Features,
    generated_features: Features,
    radii: Radii,
    block_size: int,
) -> dict[str, Float64[np.ndarray, " _"]]:
    """Returns what falls where, per metric: per reference image or per generated one."""
    m, n = len(reference_features), len(generated_features)
    per_reference = {name: name in _PER_REFERENCE for name in radii}
    whole = {name: np.zeros(m if per_reference[name] else n) for name in radii}
    with jax.enable_x64(True):
        # One centre for both sets, or their distances would change.
        centre = find_centre(reference_features)
        reference = CentredFeatures(reference_features, centre, block_size)
        generated = CentredFeatures(generated_features, centre, block_size)
        # A ratio has to be exact, where a count only has to be of the right side of a surface.
        cover = _cover_exactly if "realism" in radii else _Screening(reference, generated)
        for a in reference.blocks:
            for b in generated.blocks:
                balls = {name: b.rows if name == "recall" else a.rows for name in radii}
                part_radii = {name: radii[name][balls[name]] for name in radii}
                for name, part in cover(reference, generated, a, b, part_radii).items():
                    place = a.rows if per_reference[name] else b.rows
                    whole[name][place] = _JOIN[name](whole[name][place], np.asarray(part))
    return whole


Found = dict[str, Shaped[np.ndarray, " _"]]


def _cover_exactly(
    reference: CentredFeatures, generated: CentredFeatures, a: Block, b: Block, radii: Radii
) -> Found:
    """Returns `_cover` of a block of pairs, from float64 distances."""
    products = inner_products(reference.rows(a), generated.rows(b))
    found = _cover_block(products, reference.points(a), generated.points(b), dict(radii))
    return {name: np.asarray(part) for name, part in found.items()}


class _Screening:
    """`_cover_exactly` from float32 products, and from float64 ones where those cannot tell.

    A float32 distance is known to its error bound. What holds at both ends of it holds in between, as every
    count is monotone in every distance. Near a surface it does not, and those few images are looked at again.
    """

    def __init__(self, reference: CentredFeatures, generated: CentredFeatures) -> None:
        self._scale = screening_scale(reference, generated)
        self._error = np.float32(screening_error(reference.width))

    def __call__(
        self,
        reference: CentredFeatures,
        generated: CentredFeatures,
        a: Block,
        b: Block,
        radii: Radii,
    ) -> Found:
        products = screening_products(
            reference.rows_float32(a, self._scale), generated.rows_float32(b, self._scale)
        )
        scaled = {name: r * self._scale**2 for name, r in radii.items()}
        lower, upper = (
            {
                name: np.nextafter(r.astype(np.float32), np.float32(end))
                for name, r in scaled.items()
            }
            for end in (-np.inf, np.inf)
        )
        points = (
            reference.points_float32(a, self._scale),
            generated.points_float32(b, self._scale),
        )
        ends = _screen_block(products, *points, self._error, lower, upper)
        low, high = ({name: np.asarray(x) for name, x in end.items()} for end in ends)
        doubtful = {name: np.flatnonzero(low[name] != high[name]) for name in radii}
        for per_reference in (False, True):
            names = [n for n in radii if (n in _PER_REFERENCE) == per_reference]
            wrong = np.unique(np.concatenate([doubtful[n] for n in names] or [[]])).astype(int)
            if len(wrong):
                self._look_again(
                    reference, generated, a, b, {n: radii[n] for n in names}, wrong, low
                )
        return low

    def _look_again(
        self,
        reference: CentredFeatures,
        generated: CentredFeatures,
        a: Block,
        b: Block,
        radii: Radii,
        wrong: Int[np.ndarray, " k"],
        found: Found,
    ) -> None:
        """Puts what holds exactly of some images, of one side of the block, in place of what was found."""
        if len(wrong) > _FEW:
            found |= _cover_exactly(reference, generated, a, b, radii)
            return
        # Of one number always, so that it compiles once; images that come twice are found twice.
        some, by_reference = np.resize(wrong, _FEW), bool(set(radii) & _PER_REFERENCE)
        side, other, block, beside = (
            (reference, generated, a, b) if by_reference else (generated, reference, b, a)
        )
        rows = side.some_rows(some + block.rows.start)
        points = Points(*(np.asarray(part)[some] for part in side.points(block)))
        theirs, their_points = other.rows(beside), other.points(beside)
        if by_reference:
            products, sides = inner_products(rows, theirs), (points, their_points)
        else:
            products, sides = inner_products(theirs, rows), (their_points, points)
        balls = {n: r[some] if by_reference == (n != "recall") else r for n, r in radii.items()}
        exact = _cover_block(products, *sides, balls)
        for name, part in exact.items():
            found[name] = found[name].copy()
            found[name][wrong] = np.asarray(part)[: len(wrong)]


@jax.jit
def _screen_block(
    products: Float32[Array, "m n"],
    reference: Points,
    generated: Points,
    error: Float32[Array, ""],
    lower: dict[str, Float32[Array, " _"]],
    upper: dict[str, Float32[Array, " _"]],
) -> tuple[dict[str, Shaped[Array, " _"]], dict[str, Shaped[Array, " _"]]]:
    """Returns what is found of a block of pairs if all of them are as far apart, or as near, as may be."""
    squared, off = screened_distances(products, reference, generated, error)
    # The bounds hold the tolerance for ties as well, which is far smaller.
    return (
        _find(squared + off, jnp.zeros_like(off), reference, generated, lower),
        _find(squared - off, jnp.zeros_like(off), reference, generated, upper),
    )


@jax.jit
def _cover_block(
    products: Float64[Array, "m n"],
    reference: Points,
    generated: Points,
    radii: dict[str, Float64[Array, " _"]],
) -> dict[str, Shaped[Array, " _"]]:
    """Returns `_cover` of a block of pairs."""
    squared, rounding = squared_distances(products, reference, generated)
    return _find(squared, rounding, reference, generated, radii)


def _find(
    squared: Float[Array, "m n"],
    rounding: Float[Array, "m n"],
    reference: Points,
    generated: Points,
    radii: Mapping[str, Float[Array, " _"]],
) -> dict[str, Shaped[Array, " _"]]:
    """Returns what falls where. Rows of earlier blocks are left out where they would count twice.

    Counts are summed in float32, exact for so few rows, because float64 takes three times as long.
    """
    found = {}
    # A ball of precision and recall has its surface, one of density and coverage has not. A tie within
    # rounding counts as on the surface, whichever side of it the products put it.
    if "precision" in radii:
        found["precision"] = jnp.any(squared <= radii["precision"][:, None] + rounding, axis=0)
    if "recall" in radii:
        found["recall"] = jnp.any(squared <= radii["recall"] + rounding, axis=1)
    if "density" in radii:
        inside = squared < radii["density"][:, None] - rounding
        counted = inside & reference.mask[:, None] & generated.mask
        found["density"] = jnp.sum(counted, axis=0, dtype=jnp.float32)
    if "coverage" in radii:
        found["coverage"] = jnp.any(squared < radii["coverage"][:, None] - rounding, axis=1)
    if "realism" in radii:
        # A copy is at distance 0: what rounding leaves stands for it, and bounds the ratio.
        ratios = radii["realism"][:, None] / jnp.maximum(squared, rounding)
        found["realism"] = jnp.sqrt(_largest(ratios))
    return found


def _largest(columns: Float64[Array, "m n"]) -> Float64[Array, " n"]:
    """Returns each column's largest, none below 0.

    `jnp.max` would do, but it looks for NaN too, which takes it half its time.
    """
    zero = jnp.zeros((), columns.dtype)
    return lax.reduce(columns, zero, lambda a, b: lax.select(a > b, a, b), (0,))


def _scores(cover: Mapping[str, Float64[np.ndarray, " _"]], density_k: int) -> ManifoldScores:
    # Divided last: sums of counts are exact, so the order of images changes no bit.
    scale = {"density": 1 / density_k}
    found = {name: float(x.mean()) * scale.get(name, 1) for name, x in cover.items()}
    # The reference held fixed, these two are plain means over independent generated images.
    for name in {"precision", "density"} & set(cover):
        error = cover[name].std() / np.sqrt(len(cover[name]))
        found[f"{name}_stderr"] = float(error) * scale.get(name, 1)
    return ManifoldScores(**{**found, "realism": cover.get("realism")})


DENSITY_K = 5
_WITH_BALLS = frozenset({"precision", "density", "coverage"})


def _neighbours(reference: PreparedReference, k: int) -> Float64[np.ndarray, "n k"]:
    """Distances of each reference image's nearest neighbours, for all generated sets."""
    return neighbour_distances(reference.features.features[reference.default], k=k)


def compute_manifold(pair: SetPair) -> ManifoldScores:
    """Returns how the two sets of a pair cover each other; to be called through `pair.once`.

    All metrics that were asked for come from one pass over the pairs of images. One that needs more images
    than there are is left out, and does not cost the others. So is realism where nothing else makes its
    balls.
    """
    reference, generated = pair.vectors
    ks = {name: _choose_k(name, pair) for name in METRICS if name in pair.asked}
    if not set(ks) & _WITH_BALLS:
        ks.pop("realism", None)
    few = min(len(reference), len(generated))
    fitting = [name for name, k in ks.items() if k < few]
    of_reference = [ks[name] for name in fitting if name != "recall"]
    # Kept with the reference: its radii are the same for every generated set.
    neighbours = pair.reference.once(_neighbours, max(of_reference)) if of_reference else None
    return manifold_scores(
        reference,
        generated,
        metrics=fitting,
        precision_k=pair.options["prc_k"],
        density_k=DENSITY_K,
        reference_neighbours=neighbours,
    )


def _choose_k(name: str, pair: SetPair) -> int:
    return DENSITY_K if name in _BY_DENSITY_K else pair.options["prc_k"]


def _compute(name: str) -> Callable[[SetPair], MetricValue]:
    def compute(pair: SetPair) -> MetricValue:
        scores = pair.once(compute_manifold)
        value = getattr(scores, name)
        if value is None:
            raise InputError(f"{name}: needs more than {_choose_k(name, pair)} images of each set")
        return MetricValue(value, stderr=getattr(scores, f"{name}_stderr", None))

    return compute


SPECS = tuple(
    MetricSpec(
        name,
        _compute(name),
        features=(DEFAULT,),
        greater_is_better=True,
        why_no_stderr=NO_STDERR.get(name),
        options=(MetricOption("prc_k", 3, "neighbour of precision and recall", least=1),),
    )
    for name in ("precision", "recall", "density", "coverage")
)
