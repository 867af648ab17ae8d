"""Each image's nearest others in its own set."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import BLOCK_SIZE, UncheckedFeatures, check_features
from jaxfid.metrics.distances import (
    CentredFeatures,
    Points,
    find_centre,
    inner_products,
    squared_distances,
)

_SPARE = 8
"""Candidates beside the k that are looked for: see `_smallest`."""


def neighbour_distances(
    features: UncheckedFeatures, *, k: int, block_size: int = BLOCK_SIZE
) -> Float64[np.ndarray, "n k"]:
    """Returns each image's squared distances to its k nearest others, ascending.

    An image is no neighbour of itself; a copy of it is one. Each pair is computed once, in blocks.

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
    nearest = np.full((len(features), k), np.inf)
    with jax.enable_x64(True):
        centred = CentredFeatures(features, find_centre(features), block_size)
        for first, a in enumerate(centred.blocks):
            rows = centred.rows(a)
            for b in itertools.islice(centred.blocks, first, None):
                products = inner_products(rows, rows if b is a else centred.rows(b))
                points = (centred.points(block) for block in (a, b))
                found = _nearest(products, *points, k=k, within=a is b)
                # Two blocks give both sides of the pairs; a block with itself gives one.
                for block, candidates in zip((a, b), found, strict=False):
                    # The best so far and a block's best hold the best of both.
                    both = np.concatenate([nearest[block.rows], candidates], axis=1)
                    nearest[block.rows] = np.sort(both, axis=1)[:, :k]
    return nearest


@functools.partial(jax.jit, static_argnames=("k", "within"))
def _nearest(
    products: Float64[Array, "n m"], a: Points, b: Points, *, k: int, within: bool
) -> tuple[Float64[Array, "_ k"], ...]:
    """Returns the k least distances of each row of a and, unless b is a itself, of each of b."""
    squared, _ = squared_distances(products, a, b)
    # Rows of earlier blocks have met these rows before: twice would make a neighbour two.
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
