"""Feature arrays, checked and cut into equal blocks, for metrics that look at every pair."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Shaped
from numpy.typing import ArrayLike

from jaxfid.errors import InputError

BLOCK_SIZE = 2048
"""Rows per block: a block of pairs is then 32 MiB of float64, whatever the number of images."""

Features = Float[np.ndarray | Array, "_ _"]
"""Checked features, one row per image. Axes are anonymous because two sets differ in their rows."""

UncheckedFeatures = Shaped[np.ndarray | Array, "..."]
"""What a public function takes. `check_features` refuses by name what is not `Features`."""


class Block(NamedTuple):
    """Consecutive rows of a set. All blocks of a set have one size, so that a step compiles once.

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
    # Equal blocks waste at most `count - 1` rows; full ones would leave the last nearly empty.
    size = -(-num_images // max(count, 1))
    firsts = [size * i for i in range(count)]
    starts = [min(first, num_images - size) for first in firsts]
    return [
        Block(slice(start, start + size), np.arange(start, start + size) >= first)
        for first, start in zip(firsts, starts, strict=True)
    ]


def normalise_rows(rows: Float[Array, "n d"]) -> Float64[Array, "n d"]:
    """Returns the rows divided by their lengths; to be traced under `jax.enable_x64(True)`.

    A row of zeros has no direction. It stays at the origin instead of becoming NaN.
    """
    wide = rows.astype(jnp.float64)
    lengths = jnp.linalg.norm(wide, axis=1, keepdims=True)
    return wide / jnp.where(lengths > 0, lengths, 1)


def check_features(minimum: int, **features: ArrayLike) -> None:
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
        faults.append(f"expected features of one width, found {widths}; use one extractor for both")
    if faults:
        raise InputError("; ".join(faults))


def _fault(features: ArrayLike, minimum: int) -> str | None:
    if not isinstance(features, np.ndarray | jax.Array) or not _is_floating_matrix(features):
        dtype = getattr(features, "dtype", type(features).__name__)
        found = f"{dtype} of shape {np.shape(features)}"
        return f"expected a floating array of shape (images, features), found {found}"
    if len(features) < minimum:
        return f"expected at least {minimum} images, found {len(features)}"
    for block in make_blocks(len(features), BLOCK_SIZE):
        # NumPy's isfinite does not know bfloat16, and float64 holds every value of it.
        finite = np.isfinite(np.asarray(block.of(features), np.float64)).all(axis=1)
        if not finite.all():
            row = block.rows.start + int(np.argmin(finite))
            return f"expected finite numbers, found NaN or infinity in row {row}"
    return None


def _is_floating_matrix(features: np.ndarray | jax.Array) -> bool:
    return features.ndim == 2 and bool(jnp.issubdtype(features.dtype, jnp.floating))
