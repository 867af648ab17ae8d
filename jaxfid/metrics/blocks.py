"""Feature arrays, checked and cut into equal blocks, for metrics that look at every pair."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from jaxfid.errors import InputError

BLOCK_SIZE = 2048
"""Rows per block: a block of pairs is then 32 MiB of float64, whatever the number of images."""

Features = Float[np.ndarray | Array, "n d"]


class Block(NamedTuple):
    """Consecutive rows of a set. All blocks of a set are of one size: a step compiles once.

    Attributes:
      rows: Their place in the set.
      mask: True where a row is in no earlier block. The last block reaches back over the one before
        it instead of being padded, so that cutting a set copies nothing.
    """

    rows: slice
    mask: Bool[np.ndarray, " size"]

    def of(self, features: Features) -> Features:
        """Returns the block's rows of these features."""
        if isinstance(features, jax.Array):  # a static slice would compile once for every start
            return jax.lax.dynamic_slice_in_dim(features, self.rows.start, len(self.mask))
        return features[self.rows]


def make_blocks(num_images: int, block_size: int) -> list[Block]:
    """Returns the rows in order, in the fewest blocks of at most `block_size`, of equal size.

    Raises:
      InputError: `block_size` is below 1.
    """
    if block_size < 1:
        raise InputError(f"block_size: expected 1 row or more, found {block_size}")
    count = -(-num_images // block_size)
    size = -(-num_images // max(count, 1))
    firsts = [size * i for i in range(count)]
    starts = [min(first, num_images - size) for first in firsts]
    return [
        Block(slice(start, start + size), np.arange(start, start + size) >= first)
        for first, start in zip(firsts, starts, strict=True)
    ]


def load_rows(block: Block, features: Features) -> Features:
    """Returns the block's rows as `inner_products` takes them without another copy for each pair."""
    rows = block.of(features)
    return np.asarray(rows, np.float64) if jax.default_backend() == "cpu" else jnp.asarray(rows)


def inner_products(a: Features, b: Features) -> Float64[np.ndarray | Array, "n m"]:
    """Returns `a @ b.T` in float64; to be called under `jax.enable_x64(True)`.

    The product of two float32 numbers is exact in float64. What is left is the rounding of the sum:
    relative to the vectors' lengths 3e-13 at worst for 2,048 features, 1e-15 as a rule.

    On the device; where that is the CPU by NumPy, whose BLAS takes two thirds of XLA's time, and a third
    where `b` is `a` itself.
    """
    if jax.default_backend() == "cpu":
        rows = np.asarray(a, np.float64)
        return rows @ (rows if b is a else np.asarray(b, np.float64)).T
    return _multiply_on_device(a, b)


@jax.jit
def _multiply_on_device(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float64[Array, "n m"]:
    return jnp.matmul(a.astype(jnp.float64), b.astype(jnp.float64).T)


def check_features(minimum: int, **features: Features) -> None:
    """Checks that the named arrays are finite floating features of one width.

    Args:
      minimum: The least number of rows that the metric can be computed from.
      **features: The arrays under the names that the caller knows them by.

    Raises:
      InputError: Names every array that is not two-dimensional, floating, long enough and finite,
        or says that the widths differ.
    """
    faults = [f"{name}: {fault}" for name, x in features.items() if (fault := _fault(x, minimum))]
    widths = {name: np.shape(x)[1] for name, x in features.items() if np.ndim(x) == 2}
    if len(set(widths.values())) > 1:
        faults.append(f"expected features of one width, found {widths}; use one network for both")
    if faults:
        raise InputError("; ".join(faults))


def _fault(features: Features, minimum: int) -> str | None:
    dtype = getattr(features, "dtype", None)
    if dtype is None or np.ndim(features) != 2 or not jnp.issubdtype(dtype, jnp.floating):
        found = f"{dtype or type(features).__name__} of shape {np.shape(features)}"
        return f"expected a floating array of shape (images, features), found {found}"
    if len(features) < minimum:
        return f"expected at least {minimum} images, found {len(features)}"
    for block in make_blocks(len(features), BLOCK_SIZE):
        finite = np.isfinite(np.asarray(block.of(features), np.float64)).all(axis=1)
        if not finite.all():
            row = block.rows.start + int(np.argmin(finite))
            return f"expected finite numbers, found NaN or infinity in row {row}"
    return None
