"""Squared Euclidean distances between features, by blocks of pairs, exact enough to count by."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Int

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
      width: Features per row.
    """

    def __init__(
        self, features: Features, centre: Float64[np.ndarray, " d"], block_size: int
    ) -> None:
        self.blocks = make_blocks(len(features), block_size)
        self._features, self._centre = features, centre
        self.width = features.shape[1]

    def __len__(self) -> int:
        return len(self._features)

    def rows(self, block: Block) -> Float64[np.ndarray | Array, "n d"]:
        """Returns the block's rows less the centre; to be called under `jax.enable_x64(True)`."""
        # Float32 rows less a float64 centre: in float64, where the difference loses nothing.
        rows = block.of(self._features)
        if jax.default_backend() == "cpu":
            return np.asarray(rows, np.float64) - self._centre
        return _centre_on_device(jnp.asarray(rows), self._centre)

    def rows_float32(self, block: Block, scale: float) -> Float32[np.ndarray | Array, "n d"]:
        """Returns the same times the scale, rounded to float32, for products that only screen."""
        rows = self.rows(block)
        if isinstance(rows, np.ndarray):
            # In place: the float64 rows are this method's own.
            return np.multiply(rows, scale, out=rows).astype(np.float32)
        return (rows * scale).astype(jnp.float32)

    def points_float32(self, block: Block, scale: float) -> Points:
        """Returns what `screened_distances` needs of the block beside its products."""
        lengths = self.lengths[block.rows] * scale**2
        return Points(lengths.astype(np.float32), block.mask)

    def some_rows(self, indices: Int[np.ndarray, " k"]) -> Float64[np.ndarray, "k d"]:
        """Returns some of the set's rows less the centre, in float64 on the host."""
        return np.asarray(self._features[indices], np.float64) - self._centre

    def between(
        self, i: Int[np.ndarray, " k"], j: Int[np.ndarray, " k"]
    ) -> Float64[np.ndarray, " k"]:
        """Returns the squared distances of some pairs, from the features' own differences."""
        pairs = (np.asarray(self._features[rows]) for rows in (i, j))
        difference = np.subtract(*pairs, dtype=np.float64)
        return np.einsum("nd,nd->n", difference, difference)

    def points(self, block: Block) -> Points:
        """Returns what `squared_distances` needs of the block beside its products."""
        return Points(self.lengths[block.rows], block.mask)

    @functools.cached_property
    def lengths(self) -> Float64[np.ndarray, " n"]:
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


def screening_scale(*sets: CentredFeatures) -> float:
    """Returns a power of two that brings the longest row to about 1, as float32 has a small range."""
    longest = np.sqrt(max(centred.lengths.max(initial=0) for centred in sets))
    return float(2.0 ** -np.round(np.log2(longest))) if longest > 0 else 1.0


def screening_error(width: int) -> float:
    """Returns a bound on the error of a squared distance from float32 products, relative as `ROUNDING`.

    A sum of `width` products errs by `width` roundings of the lengths at most, in whatever order it is taken;
    the rest is for the roundings of rows, lengths and radii.
    """
    return (width + 32) * 2.0**-24


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


def screening_products(
    a: Float32[np.ndarray | Array, "n d"], b: Float32[np.ndarray | Array, "m d"]
) -> Float32[np.ndarray | Array, "n m"]:
    """Returns `a @ b.T` in float32, where `inner_products` does: half its time on a CPU."""
    if jax.default_backend() == "cpu":
        return np.asarray(a) @ np.asarray(b).T
    return _multiply_float32_on_device(a, b)


def squared_distances(
    products: Float64[Array, "n m"], a: Points, b: Points
) -> tuple[Float64[Array, "n m"], Float64[Array, "n m"]]:
    """Returns squared distances, and how far apart two of them may be and still count as equal.

    To be traced under `jax.enable_x64(True)`; `products` are from `inner_products`.
    """
    lengths = jnp.add(a.lengths[:, None], b.lengths)
    # The bound follows the lengths, not the distance: it is their cancellation that loses digits.
    return lengths - 2 * products, ROUNDING * lengths


def screened_distances(
    products: Float32[Array, "n m"], a: Points, b: Points, error: Float32[Array, ""]
) -> tuple[Float32[Array, "n m"], Float32[Array, "n m"]]:
    """Returns squared distances times the square of the scale, and bounds on how far they are off.

    To be traced.

    Args:
      products: From `screening_products`, of scaled rows.
      a: The first block's points, scaled.
      b: The second's.
      error: From `screening_error`.
    """
    lengths = jnp.add(a.lengths[:, None], b.lengths)
    # The small number is for rows so short beside the longest that float32 does not hold their squares.
    return lengths - 2 * products, error * lengths + np.float32(1e-30)


@jax.jit
def _multiply_float32_on_device(
    a: Float32[Array, "n d"], b: Float32[Array, "m d"]
) -> Float32[Array, "n m"]:
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


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
