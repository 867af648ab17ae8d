"""Squared Euclidean distances between features, by blocks of pairs, exact enough to count by."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from jaxfid.metrics.blocks import BLOCK_SIZE, Block, Features, make_blocks

ROUNDING = 1e-12
"""Bound on the error of a squared distance, relative to the squared lengths of its two ends.

Float64 sums over 2,048 features err by 5e-13 at worst. Two squared distances closer than this count
as equal: a copy of an image is at distance 0, and a tie is a tie whatever block it was computed in.
Distinct float32 features are not this close, but for the network's own rounding of one image.
"""


class Points(NamedTuple):
    """A block of a set: its rows' squared lengths, and True where a row is new in the set."""

    lengths: Float64[np.ndarray | Array, " n"]
    mask: Bool[np.ndarray | Array, " n"]


class CentredFeatures:
    """A set's features less one centre, read block by block.

    A squared distance is `|a|^2 + |b|^2 - 2 a.b`, which cancels where features lie far from the
    origin. A centre inside the sets takes that out and moves no distance. Features are centred as
    they are read, so that no second copy of a set is made.

    Attributes:
      blocks: The rows, cut.
    """

    def __init__(
        self, features: Features, centre: Float64[np.ndarray, " d"], block_size: int
    ) -> None:
        self.blocks = make_blocks(len(features), block_size)
        self._features, self._centre = features, centre

    def __len__(self) -> int:
        return len(self._features)

    def rows(self, block: Block) -> Float64[np.ndarray | Array, "n d"]:
        """Returns the block's rows less the centre; to be called under `jax.enable_x64(True)`."""
        # Float32 rows less a float64 centre: in float64, where the difference loses nothing.
        rows = block.of(self._features)
        if jax.default_backend() == "cpu":
            return np.asarray(rows, np.float64) - self._centre
        return _centre_on_device(jnp.asarray(rows), self._centre)

    def points(self, block: Block) -> Points:
        """Returns what `squared_distances` needs of the block beside its products."""
        return Points(self._lengths[block.rows], block.mask)

    @functools.cached_property
    def _lengths(self) -> Float64[np.ndarray, " n"]:
        """Squared lengths: once and apart from the distances, where XLA would compute them per pair."""
        lengths = np.empty(len(self._features))
        for block in self.blocks:
            lengths[block.rows] = _row_lengths(self.rows(block))
        return lengths


def find_centre(features: Features) -> Float64[np.ndarray, " d"]:
    """Returns the mean of the features. It need not be exact: any point among them would do."""
    total = np.zeros(features.shape[1])
    for block in make_blocks(len(features), BLOCK_SIZE):
        # The mask leaves out rows that an earlier block has summed.
        total += np.asarray(block.of(features), np.float64)[block.mask].sum(axis=0)
    return total / len(features)


def inner_products(
    a: Float64[np.ndarray | Array, "n d"], b: Float64[np.ndarray | Array, "m d"]
) -> Float64[np.ndarray | Array, "n m"]:
    """Returns `a @ b.T`; to be called under `jax.enable_x64(True)`.

    Its rounding, relative to the vectors' lengths, is 3e-13 at worst for 2,048 features, 1e-15 as a
    rule.

    On the device; where that is the CPU by NumPy, whose BLAS takes two thirds of XLA's time, and a
    third where `b` is `a` itself.
    """
    if jax.default_backend() == "cpu":  # NumPy knows a product with itself by its memory
        return np.asarray(a) @ np.asarray(b).T
    return _multiply_on_device(a, b)


def squared_distances(
    products: Float64[Array, "n m"], a: Points, b: Points
) -> tuple[Float64[Array, "n m"], Float64[Array, "n m"]]:
    """Returns squared distances, and how far apart two of them may be and still count as equal.

    To be traced under `jax.enable_x64(True)`; `products` are from `inner_products`.
    """
    lengths = jnp.add(a.lengths[:, None], b.lengths)
    # The bound follows the lengths, not the distance: it is their cancellation that loses digits.
    return lengths - 2 * products, ROUNDING * lengths


@jax.jit
def _row_lengths(rows: Float64[Array, "n d"]) -> Float64[Array, " n"]:
    return jnp.sum(jnp.square(rows), axis=1)


@jax.jit
def _centre_on_device(
    rows: Float[Array, "n d"], centre: Float64[Array, " d"]
) -> Float64[Array, "n d"]:
    return rows.astype(jnp.float64) - centre


@jax.jit
def _multiply_on_device(
    a: Float64[Array, "n d"], b: Float64[Array, "m d"]
) -> Float64[Array, "n m"]:
    return jnp.matmul(a, b.T)
