"""MIND: the sliced Wasserstein distance between two sets of features."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, Float64

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import BLOCK_SIZE, Features, UncheckedFeatures, check_features
from jaxfid.metrics.distances import CentredFeatures, find_centre, inner_products
from jaxfid.metrics.pair import SetPair
from jaxfid.metrics.registry import DEFAULT, MetricSpec
from jaxfid.result import MetricValue

NUM_DIRECTIONS = 1000
_DIRECTIONS_AT_ONCE = 64
"""Few enough that 50,000 images' projections take 25 MB, many enough that features are read 16 times."""

_UNIT_TOLERANCE = 1e-5  # a float32 direction of 2,048 coordinates has length 1 to 1e-6


@dataclasses.dataclass(frozen=True)
class Mind:
    """A squared distance, 0 or more.

    Attributes:
      value: The distance.
      stderr: Its standard error from the sampling of the generated images, the reference and the
        directions held fixed.
      stderr_directions: How far other random directions would move the value, as a standard error.
      num_images: Images of either set that were compared.
      num_directions: How many directions.
      seed: What they were drawn from; None where they were given.
    """

    value: float
    stderr: float
    stderr_directions: float
    num_images: int
    num_directions: int
    seed: int | None


def mind(
    reference_features: UncheckedFeatures,
    generated_features: UncheckedFeatures,
    *,
    num_directions: int = NUM_DIRECTIONS,
    seed: int = 0,
    directions: Float[np.ndarray, "..."] | None = None,
    block_size: int = BLOCK_SIZE,
) -> Mind:
    """Returns `3 d` times the mean over directions of the mean squared difference of sorted projections.

    Both sets are cut to the size of the smaller: of the larger one, rows evenly spaced over it are
    compared, so that a set in the order of its classes keeps them all. The value falls with the
    number of images, and is 0 for equal sets.

    The standard error is that of the value's linear part in each generated image, the Kantorovich
    potential. It is 0.95 to 1.16 of the true spread in simulations
    (`scripts/bench/standard_errors.py`).

    Projections, sorting and sums are float64. Extra memory is that of 64 directions' projections.

    Args:
      reference_features: Features of the reference images, `(m, d)`.
      generated_features: Features of the generated images, `(n, d)`.
      num_directions: How many random directions; without effect where they are given.
      seed: Seeds `numpy.random.default_rng`, which draws them.
      directions: Unit vectors, `(directions, d)`, instead of random ones.
      block_size: Rows per block: time and memory, not the result.

    Raises:
      InputError: The features are not finite floating matrices of one width with 2 rows or more,
        `num_directions` is below 1, or `directions` are not finite unit vectors of that width.

    Source: Berthet et al., MIND: Monge inception distance for generative models evaluation, 2026.
    """
    check_features(2, reference_features=reference_features, generated_features=generated_features)
    d = reference_features.shape[1]
    if directions is None:
        chosen, drawn_from = make_directions(num_directions, d, seed=seed), seed
    else:
        chosen, drawn_from = _check_directions(directions, d), None
    # One-dimensional transport pairs the k-th smallest of both sets, so both need as many images.
    size = min(len(reference_features), len(generated_features))
    squares, influence = _compare(reference_features, generated_features, chosen, size, block_size)
    scale = 3 * d
    return Mind(
        value=float(scale * squares.mean()),
        stderr=float(scale * influence.std() / np.sqrt(size)),
        stderr_directions=float(scale * squares.std() / np.sqrt(len(chosen))),
        num_images=size,
        num_directions=len(chosen),
        seed=drawn_from,
    )


def make_directions(num_directions: int, d: int, *, seed: int = 0) -> Float64[np.ndarray, "M d"]:
    """Returns random unit vectors, the first ones the same however many there are.

    Raises:
      InputError: `num_directions` is below 1.
    """
    if num_directions < 1:
        raise InputError(f"num_directions: expected 1 or more, found {num_directions}")
    # Normal vectors have no preferred direction; a cube's corners would.
    normal = np.random.default_rng(seed).normal(size=(num_directions, d))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _check_directions(directions: Float[np.ndarray, "..."], d: int) -> Float64[np.ndarray, "M d"]:
    if directions.ndim != 2 or directions.shape[1] != d or len(directions) < 1:
        raise InputError(f"directions: expected shape (directions, {d}), found {directions.shape}")
    wide = np.asarray(directions, np.float64)
    off = np.abs(np.linalg.norm(wide, axis=1) - 1)
    if not np.all(off <= _UNIT_TOLERANCE):  # NaN is not either
        row = int(np.argmin(off <= _UNIT_TOLERANCE))
        raise InputError(
            f"directions: expected vectors of length 1, found {np.linalg.norm(wide[row])} in row "
            f"{row}; divide each by its length"
        )
    return wide


def _compare(
    reference_features: Features,
    generated_features: Features,
    directions: Float64[np.ndarray, "M d"],
    size: int,
    block_size: int,
) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " size"]]:
    """Returns each direction's mean squared move, and each generated image's mean potential."""
    squares, potentials = np.empty(len(directions)), np.zeros(size)
    with jax.enable_x64(True):
        # A shift of both sets moves no distance, and keeps the digits of features far from 0.
        centre = find_centre(reference_features)
        reference = CentredFeatures(reference_features, centre, block_size)
        generated = CentredFeatures(generated_features, centre, block_size)
        for first in range(0, len(directions), _DIRECTIONS_AT_ONCE):
            some = slice(first, first + _DIRECTIONS_AT_ONCE)
            x, y = (_project(each, directions[some], size) for each in (reference, generated))
            squares[some], potential = _transport(x, y)
            potentials += potential
    return squares, potentials / len(directions)


def _project(
    features: CentredFeatures, directions: Float64[np.ndarray, "M d"], size: int
) -> Float64[np.ndarray, "M size"]:
    """Returns the projections of `size` rows, evenly spaced over the set."""
    projected = np.empty((len(directions), len(features)))
    for block in features.blocks:
        projected[:, block.rows] = inner_products(directions, features.rows(block))
    return projected[:, np.arange(size) * len(features) // size]


def _transport(
    x: Float64[np.ndarray, "M n"], y: Float64[np.ndarray, "M n"]
) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " n"]]:
    """Returns each direction's mean squared move, and each y's potential, summed over directions.

    The optimal plan between points on a line joins them in order. Its potential has the slope
    `2 (y - x)` at y: integrated along the sorted y, it says how much a further point there costs.
    """
    order = np.argsort(y)
    y = np.take_along_axis(y, order, axis=1)
    moves = y - np.sort(x)
    potential = np.zeros_like(y)
    np.cumsum(np.diff(y) * (moves[:, 1:] + moves[:, :-1]), axis=1, out=potential[:, 1:])
    # Each direction's potential has a free constant, which no standard deviation sees.
    by_image = np.empty_like(potential)
    np.put_along_axis(by_image, order, potential, axis=1)
    return np.mean(np.square(moves), axis=1), by_image.sum(axis=0)


def _compute(pair: SetPair) -> MetricValue:
    found = mind(*pair.vectors)
    names = ("stderr_directions", "num_images", "num_directions", "seed")
    details = {name: getattr(found, name) for name in names}
    return MetricValue(found.value, stderr=found.stderr, details=details)


SPECS = (MetricSpec("mind", _compute, features=(DEFAULT,), heading="MIND"),)
