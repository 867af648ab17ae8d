"""Precision, recall, density, coverage, realism: balls around features, and what falls inside."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float64

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import (
    BLOCK_SIZE,
    Block,
    Features,
    check_features,
    inner_products,
    load_rows,
    make_blocks,
)
from jaxfid.metrics.neighbours import (
    Points,
    make_points,
    neighbour_distances,
    squared_distances,
    squared_lengths,
)
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.metrics.registry import DEFAULT, MetricSpec
from jaxfid.result import MetricValue


@dataclasses.dataclass(frozen=True)
class ManifoldScores:
    """How two sets cover each other, by balls that reach from an image to its k-th neighbour.

    Attributes:
      precision: Share of generated images inside some reference ball, 0 to 1.
      precision_stderr: Its standard error from the sampling of the generated images, the reference
        held fixed.
      recall: Share of reference images inside some generated ball, 0 to 1. No standard error is
        known: the balls are themselves made from the generated sample.
      density: Reference balls around a generated image, on average, over k. Equal distributions
        give about 1; more is possible.
      density_stderr: Its standard error, as for precision.
      coverage: Share of reference balls with a generated image inside, 0 to 1.
      realism: Per generated image, the largest ratio of a reference ball's radius to the distance
        from its centre, over the half of the balls that are smallest. 1 or more is inside one; a
        copy of a reference image scores about 1e6.
    """

    precision: float
    precision_stderr: float
    recall: float
    density: float
    density_stderr: float
    coverage: float
    realism: Float64[np.ndarray, " n"] = dataclasses.field(repr=False, compare=False)


def manifold_scores(
    reference_features: Features,
    generated_features: Features,
    *,
    precision_k: int = 3,
    density_k: int = 5,
    reference_neighbours: Float64[np.ndarray, "m k"] | None = None,
    block_size: int = BLOCK_SIZE,
) -> ManifoldScores:
    """Returns precision, recall, density, coverage, and each generated image's realism.

    Precision, recall and realism are those of Kynkaanniemi et al. 2019: balls to the
    `precision_k`-th neighbour with their surface (`<=`), as in torch-fidelity and ADM's evaluator.
    Density and coverage are those of Naeem et al. 2020: balls to the `density_k`-th neighbour
    without it (`<`), as in prdc, which leaves it out of precision and recall as well. Realism is
    the ratio of distances, as published; its authors' code divides the squared ones.

    Counts are of float64 distances, exact but for ties (`neighbours.ROUNDING`). torch-fidelity
    compares float32 ones, ADM's evaluator float16 ones where they are finite: their counts may
    differ by the images that lie on a surface to that precision.

    Each pair's distance is computed once, in blocks: extra memory is a few blocks, and a few
    numbers per image.

    Args:
      reference_features: Features of the reference images.
      generated_features: Features of the generated images, of the same width.
      precision_k: Which neighbour a ball reaches to, for precision, recall and realism.
      density_k: The same for density and coverage.
      reference_neighbours: What `neighbour_distances` gives for the reference and a k no smaller
        than the two above, kept where several sets are scored against it.
      block_size: Rows per block: time and memory, not the result.

    Raises:
      InputError: The features are no finite floating matrices of one width with more than k rows,
        a k is below 1, or `reference_neighbours` has another shape.
    """
    k = max(precision_k, density_k)
    if min(precision_k, density_k) < 1:
        raise InputError(
            f"precision_k, density_k: expected 1 or more, found {precision_k}, {density_k}"
        )
    check_features(
        k + 1, reference_features=reference_features, generated_features=generated_features
    )
    if reference_neighbours is None:
        reference_neighbours = neighbour_distances(reference_features, k=k, block_size=block_size)
    _check_neighbours(reference_neighbours, len(reference_features), k)
    # As many as of the reference, though fewer would do: so that one program serves both.
    generated_neighbours = neighbour_distances(generated_features, k=k, block_size=block_size)
    precision = reference_neighbours[:, precision_k - 1]
    # Two images that are each other's k-th neighbour have one radius, but for rounding.
    median = np.median(precision) * (1 + 1e-9)
    radii = _Radii(
        precision=precision,
        density=reference_neighbours[:, density_k - 1],
        realism=np.where(precision <= median, precision, 0),
        recall=generated_neighbours[:, precision_k - 1],
    )
    return _scores(_cover(reference_features, generated_features, radii, block_size), density_k)


def _check_neighbours(neighbours: Float64[np.ndarray, "m k"], num_images: int, k: int) -> None:
    if neighbours.shape[0] != num_images or neighbours.shape[1] < k:
        raise InputError(
            f"reference_neighbours: expected shape ({num_images}, {k} or more), found "
            f"{neighbours.shape}; make them with neighbour_distances(reference_features, k={k})"
        )


class _Radii(NamedTuple):
    """Squared radii: of the reference balls for three purposes, of the generated for recall."""

    precision: Float64[np.ndarray | Array, " m"]
    density: Float64[np.ndarray | Array, " m"]
    realism: Float64[np.ndarray | Array, " m"]
    recall: Float64[np.ndarray | Array, " n"]

    def of(self, reference: Block, generated: Block) -> "_Radii":
        own = (r[reference.rows] for r in (self.precision, self.density, self.realism))
        return _Radii(*own, recall=self.recall[generated.rows])


class _Cover(NamedTuple):
    """What falls where: `recall` and `coverage` per reference image, others per generated one."""

    precision: Bool[np.ndarray, " n"]
    recall: Bool[np.ndarray, " m"]
    density: Float64[np.ndarray, " n"]
    coverage: Bool[np.ndarray, " m"]
    realism: Float64[np.ndarray, " n"]


def _cover(
    reference_features: Features, generated_features: Features, radii: _Radii, block_size: int
) -> _Cover:
    m, n = len(reference_features), len(generated_features)
    lengths = [squared_lengths(x, block_size) for x in (reference_features, generated_features)]
    flags_m, flags_n = np.zeros((2, m), bool), np.zeros(n, bool)
    whole = _Cover(flags_n, flags_m[0], np.zeros(n), flags_m[1], np.zeros(n))
    generated_blocks = make_blocks(n, block_size)
    with jax.enable_x64(True):
        for a in make_blocks(m, block_size):
            rows, reference = load_rows(a, reference_features), make_points(lengths[0], a)
            for b in generated_blocks:
                products = inner_products(rows, load_rows(b, generated_features))
                generated = make_points(lengths[1], b)
                found = _cover_block(products, reference, generated, radii.of(a, b))
                _join(whole, _Cover(*map(np.asarray, found)), a, b)
    return whole


def _join(whole: _Cover, part: _Cover, reference: Block, generated: Block) -> None:
    """Adds what was found in a block of pairs."""
    m, n = reference.rows, generated.rows
    whole.precision[n] |= part.precision
    whole.recall[m] |= part.recall
    whole.density[n] += generated.mask * part.density
    whole.coverage[m] |= part.coverage
    np.maximum(whole.realism[n], part.realism, out=whole.realism[n])


@jax.jit
def _cover_block(
    products: Float64[Array, "m n"], reference: Points, generated: Points, radii: _Radii
) -> tuple[Array, ...]:
    """Returns the fields of `_Cover` for a block; rows of earlier blocks would alter only counts.

    Counts are summed in float32, exact for so few rows, because float64 takes three times as long.
    """
    squared, rounding = squared_distances(products, reference, generated)
    strictly_inside = squared < radii.density[:, None] - rounding
    counted = strictly_inside & reference.mask[:, None]
    ratios = radii.realism[:, None] / jnp.maximum(squared, rounding)
    return (
        jnp.any(squared <= radii.precision[:, None] + rounding, axis=0),
        jnp.any(squared <= radii.recall + rounding, axis=1),
        jnp.sum(counted, axis=0, dtype=jnp.float32),
        jnp.any(strictly_inside, axis=1),
        jnp.sqrt(_largest(ratios)),
    )


def _largest(columns: Float64[Array, "m n"]) -> Float64[Array, " n"]:
    """Returns each column's largest, none below 0: `jnp.max`, but for NaN, which takes it half its time."""
    zero = jnp.zeros((), columns.dtype)
    return lax.reduce(columns, zero, lambda a, b: lax.select(a > b, a, b), (0,))


def _scores(cover: _Cover, density_k: int) -> ManifoldScores:
    root = np.sqrt(len(cover.density))
    return ManifoldScores(
        precision=float(cover.precision.mean()),
        precision_stderr=float(cover.precision.std() / root),
        recall=float(cover.recall.mean()),
        density=float(cover.density.mean() / density_k),
        density_stderr=float(cover.density.std() / density_k / root),
        coverage=float(cover.coverage.mean()),
        realism=cover.realism,
    )


PRECISION_K, DENSITY_K = 3, 5


def _neighbours(reference: PreparedReference) -> Float64[np.ndarray, "n k"]:
    """Distances of each reference image's nearest neighbours, for all generated sets."""
    features = reference.features.features[reference.default]
    return neighbour_distances(features, k=max(PRECISION_K, DENSITY_K))


def compute_manifold(pair: SetPair) -> ManifoldScores:
    """Returns how the two sets of a pair cover each other; to be called through `pair.once`."""
    return manifold_scores(
        *pair.vectors,
        precision_k=PRECISION_K,
        density_k=DENSITY_K,
        reference_neighbours=pair.reference.once(_neighbours),
    )


def _compute(field: str) -> Callable[[SetPair], MetricValue]:
    def compute(pair: SetPair) -> MetricValue:
        scores = pair.once(compute_manifold)
        return MetricValue(getattr(scores, field), stderr=getattr(scores, f"{field}_stderr", None))

    return compute


SPECS = tuple(
    MetricSpec(name, _compute(name), features=(DEFAULT,), greater_is_better=True)
    for name in ("precision", "recall", "density", "coverage")
)
