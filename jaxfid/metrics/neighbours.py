"""Each image's nearest others in its own set."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, Int, Int32

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import BLOCK_SIZE, Block, UncheckedFeatures, check_features
from jaxfid.metrics.distances import (
    CentredFeatures,
    Points,
    find_centre,
    inner_products,
    screened_distances,
    screening_error,
    screening_products,
    screening_scale,
)

_SPARE = 8
"""Candidates beside the k that are looked for, where float32 cannot tell which are the nearest."""

_ROWS_AT_ONCE = 256
_PAIRS_AT_ONCE = 128  # whose rows stay in a core's cache


def neighbour_distances(
    features: UncheckedFeatures, *, k: int, block_size: int = BLOCK_SIZE
) -> Float64[np.ndarray, "n k"]:
    """Returns each image's squared distances to its k nearest others, ascending.

    An image is no neighbour of itself; a copy of it is one. Candidates come from float32 products, each pair
    once, in blocks; their distances are float64. Where float32 cannot tell that no other image is nearer,
    all distances of that image are taken in float64.

    Args:
      features: Features of one set, `(n, d)`.
      k: How many neighbours.
      block_size: Rows per block: time and memory, not the result.

    Raises:
      InputError: The features are not a finite floating matrix with more than k rows, or k < 1.
    """
    if k < 1:
        raise InputError(f"k: expected the first neighbour or a later one, found {k}")
    check_features(k + 1, features=features)
    with jax.enable_x64(True):
        centred = CentredFeatures(features, find_centre(features), block_size)
        least, places = _find_candidates(centred, k)
        nearest = _exact_distances(centred, least, places, k)
        # An image that is no candidate is at least as far away as the farthest one's lower bound.
        doubtful = np.flatnonzero(least[:, -1] < nearest[:, -1])
        for start in range(0, len(doubtful), _ROWS_AT_ONCE):
            rows = doubtful[start : start + _ROWS_AT_ONCE]
            nearest[rows] = _search_all(centred, rows, k)
    return nearest


def _find_candidates(
    centred: CentredFeatures, k: int
) -> tuple[Float64[np.ndarray, "n c"], Int[np.ndarray, "n c"]]:
    """Returns lower bounds of distances, the least of each row in rising order, and whose they are.

    Infinite and of image 0 where a row has fewer others.
    """
    count, scale = k + _SPARE, screening_scale(centred)
    error = np.float32(screening_error(centred.width))
    least = np.full((len(centred), count), np.inf, np.float32)
    places = np.zeros((len(centred), count), np.int64)
    for first, a in enumerate(centred.blocks):
        rows = centred.rows_float32(a, scale)
        for b in itertools.islice(centred.blocks, first, None):
            products = screening_products(rows, rows if b is a else centred.rows_float32(b, scale))
            points = (centred.points_float32(block, scale) for block in (a, b))
            found = _least_bounds(products, *points, error, count=count, within=a is b)
            # Two blocks give both sides of the pairs; a block with itself gives one.
            for block, other, (bounds, at) in zip((a, b), (b, a), found, strict=False):
                _merge(least, places, block, np.asarray(bounds), np.asarray(at) + other.rows.start)
    return least.astype(np.float64) / scale**2, places


def _merge(
    least: Float32[np.ndarray, "n c"],
    places: Int[np.ndarray, "n c"],
    block: Block,
    bounds: Float32[np.ndarray, "m c2"],
    at: Int[np.ndarray, "m c2"],
) -> None:
    """Takes a block's best into the best so far, which hold the best of both."""
    all_bounds = np.concatenate([least[block.rows], bounds], axis=1)
    all_places = np.concatenate([places[block.rows], at], axis=1)
    order = np.argsort(all_bounds, axis=1, kind="stable")[:, : least.shape[1]]
    least[block.rows] = np.take_along_axis(all_bounds, order, axis=1)
    places[block.rows] = np.take_along_axis(all_places, order, axis=1)


@functools.partial(jax.jit, static_argnames=("count", "within"))
def _least_bounds(
    products: Float32[Array, "n m"],
    a: Points,
    b: Points,
    error: Float32[Array, ""],
    *,
    count: int,
    within: bool,
) -> tuple[tuple[Float32[Array, "_ c"], Int32[Array, "_ c"]], ...]:
    """Returns the least lower bounds of each row of a and, unless b is a itself, of each of b."""
    squared, error = screened_distances(products, a, b, error)
    bounds = squared - error
    # Rows of earlier blocks have met these rows before: twice would make a neighbour two.
    bounds = jnp.where(a.mask[:, None] & b.mask, bounds, jnp.inf)
    if within:
        return (_smallest(jnp.where(jnp.eye(len(a.mask), dtype=bool), jnp.inf, bounds), count),)
    return _smallest(bounds, count), _smallest(bounds.T, count)


def _smallest(
    values: Float32[Array, "n m"], count: int
) -> tuple[Float32[Array, "n c"], Int32[Array, "n c"]]:
    negative, places = jax.lax.top_k(-values, min(count, values.shape[1]))
    return -negative, places


def _exact_distances(
    centred: CentredFeatures,
    least: Float64[np.ndarray, "n c"],
    places: Int[np.ndarray, "n c"],
    k: int,
) -> Float64[np.ndarray, "n k"]:
    """Returns the k least distances to the candidates, of which most are known to be too far away."""
    lengths = centred.lengths
    most = least + 2 * screening_error(centred.width) * (lengths[:, None] + lengths[places])
    needed = least <= np.sort(most, axis=1)[:, k - 1 : k]
    exact = np.full(least.shape, np.inf)
    rows, columns = np.nonzero(needed & np.isfinite(least))
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        i, c = rows[start : start + _PAIRS_AT_ONCE], columns[start : start + _PAIRS_AT_ONCE]
        exact[i, c] = centred.between(i, places[i, c])
    return np.sort(exact, axis=1)[:, :k]


def _search_all(
    centred: CentredFeatures, rows: Int[np.ndarray, " r"], k: int
) -> Float64[np.ndarray, "r k"]:
    """Returns the k least distances of some rows to all others, in float64."""
    ours, nearest = centred.some_rows(rows), np.full((len(rows), k), np.inf)
    for block in centred.blocks:
        products = np.asarray(inner_products(ours, centred.rows(block)))
        points = centred.points(block)
        squared = centred.lengths[rows, None] + points.lengths - 2 * products
        itself = rows[:, None] == np.arange(block.rows.start, block.rows.stop)
        squared = np.where(points.mask & ~itself, np.maximum(squared, 0), np.inf)
        nearest = np.sort(np.concatenate([nearest, squared], axis=1), axis=1)[:, :k]
    return nearest
