"""Squared distances between features, exact enough to count by, and each image's nearest others."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

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

ROUNDING = 1e-12
"""Bound on the error of a squared distance, relative to the squared lengths of its two ends.

Float64 sums over 2,048 features err by 5e-13 at worst. Two squared distances closer than this count
as equal: a copy of an image is at distance 0, and a tie is a tie whatever block it was computed in.
Distinct float32 features are not this close, but for the network's own rounding of one image.
"""

_SPARE = 8


class Points(NamedTuple):
    """A block of a set: its rows' squared lengths, and True where a row is new in the set."""

    lengths: Float64[np.ndarray | Array, " n"]
    mask: Bool[np.ndarray | Array, " n"]


def make_points(lengths: Float64[np.ndarray, " n"], block: Block) -> Points:
    """Returns the block's points; `lengths` are the whole set's, from `squared_lengths`."""
    return Points(lengths[block.rows], block.mask)


def squared_lengths(features: Features, block_size: int) -> Float64[np.ndarray, " n"]:
    """Returns each row's squared Euclidean length.

    Once and apart from the distances, because XLA would fuse the sum into them and do it per pair.
    """
    lengths = np.empty(len(features))
    with jax.enable_x64(True):
        for block in make_blocks(len(features), block_size):
            lengths[block.rows] = _row_lengths(block.of(features))
    return lengths


@jax.jit
def _row_lengths(rows: Float[Array, "n d"]) -> Float64[Array, " n"]:
    return jnp.sum(jnp.square(rows.astype(jnp.float64)), axis=1)


def squared_distances(
    products: Float64[Array, "n m"], a: Points, b: Points
) -> tuple[Float64[Array, "n m"], Float64[Array, "n m"]]:
    """Returns squared distances, and how far apart two of them may be and still count as equal.

    To be traced under `jax.enable_x64(True)`; `products` are from `inner_products`.
    """
    lengths = jnp.add(a.lengths[:, None], b.lengths)
    return lengths - 2 * products, ROUNDING * lengths


def neighbour_distances(
    features: Features, *, k: int, block_size: int = BLOCK_SIZE
) -> Float64[np.ndarray, "n k"]:
    """Returns each image's squared distances to its k nearest others, ascending.

    An image is no neighbour of itself; a copy of it is one. Each pair is computed once, in blocks.

    Args:
      features: Features of one set.
      k: How many neighbours.
      block_size: Rows per block: time and memory, not the result.

    Raises:
      InputError: The features are no finite floating matrix with more than k rows, or k < 1.
    """
    if k < 1:
        raise InputError(f"k: expected the first neighbour or a later one, found {k}")
    check_features(k + 1, features=features)
    lengths = squared_lengths(features, block_size)
    nearest = np.full((len(features), k), np.inf)
    blocks = make_blocks(len(features), block_size)
    with jax.enable_x64(True):
        for number, a in enumerate(blocks):
            rows = load_rows(a, features)
            for b in blocks[number:]:
                products = inner_products(rows, rows if b is a else load_rows(b, features))
                points = (make_points(lengths, block) for block in (a, b))
                found = _nearest(products, *points, k=k, within=a is b)
                for block, candidates in zip((a, b), found, strict=False):
                    both = np.concatenate([nearest[block.rows], candidates], axis=1)
                    nearest[block.rows] = np.sort(both, axis=1)[:, :k]
    return nearest


@functools.partial(jax.jit, static_argnames=("k", "within"))
def _nearest(
    products: Float64[Array, "n m"], a: Points, b: Points, *, k: int, within: bool
) -> tuple[Float64[Array, "n k"], ...]:
    """Returns the k least distances of each row of a and, unless b is a itself, of each of b."""
    squared, _ = squared_distances(products, a, b)
    squared = jnp.where(a.mask[:, None] & b.mask, jnp.maximum(squared, 0), jnp.inf)
    if within:
        return (_smallest(jnp.where(jnp.eye(len(a.mask), dtype=bool), jnp.inf, squared), k),)
    return _smallest(squared, k), _smallest(squared.T, k)


def _smallest(values: Float64[Array, "n m"], k: int) -> Float64[Array, "n k"]:
    """Returns the k least of each row, infinite where a row has fewer.

    `top_k` is 50 times faster in float32 than in float64. Rounding keeps the order, so that only
    values equal in float32 can be taken for one another; the spare places are for those.
    """
    _, places = jax.lax.top_k(-values.astype(jnp.float32), min(k + _SPARE, values.shape[1]))
    least = jnp.sort(jnp.take_along_axis(values, places, axis=1), axis=1)[:, :k]
    return jnp.pad(least, ((0, 0), (0, k - least.shape[1])), constant_values=jnp.inf)
