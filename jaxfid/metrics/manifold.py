"""Precision, recall, density, coverage, realism: balls around features, and what falls inside."""

import dataclasses
from collections.abc import Callable, Collection, Mapping

import numpy as np
from jaxtyping import Float64

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import BLOCK_SIZE, Features, UncheckedFeatures, check_features
from jaxfid.metrics.cover import Radii, find_cover
from jaxfid.metrics.neighbours import neighbour_distances
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.metrics.registry import DEFAULT, MetricOption, MetricSpec
from jaxfid.result import MetricValue

METRICS = ("precision", "recall", "density", "coverage", "realism")

_BY_DENSITY_K = {"density", "coverage"}

NO_STDERR = {
    "recall": "the balls are made from the generated sample; leaving one image out gives an error "
    "31 to 87 % too large in simulations",
    "coverage": "leaving one image out gives an error 17 to 61 % too large in simulations",
}
"""Why these have no standard error, as `scripts/bench/standard_errors.py` finds."""


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
    cover = find_cover(reference_features, generated_features, radii, block_size)
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
