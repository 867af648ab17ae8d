"""Pillow's resize of 8-bit images, to the bit: integers on the device, Pillow itself on the host.

Pillow rounds the weights to 22 binary digits, sums in 32-bit integers, and rounds the image between the two
axes, of which the width comes first (`jaxfid.preprocessing.pillow` says why that must be said). All of that
is exact, so that every device gives the same pixels as Pillow. Only the weights are floating-point numbers at
first; they are made here on the host, once per side.

Source: Resample.c of Pillow (`precompute_coeffs`, `normalize_coeffs_8bpc`, `ImagingResample`).
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, Int, Int32, UInt8
from PIL import Image

from jaxfid.preprocessing.pillow import resize_columns_first

_PRECISION_BITS = 32 - 8 - 2
"""Of a weight, behind the point: 8 bits are the pixel's, 2 are for sign and overshoot."""

_SUPPORT = 2.0
_SMALLEST_BUCKET_PX = 32


class AxisTaps(NamedTuple):
    """Which pixels each output pixel of one axis sums, for one image or a batch.

    Attributes:
      first: The first of them; the others follow it.
      weights: Their weights, times 2^22; 0 for pixels beyond the last.
      size: Side of the image in pixels, which a canvas may exceed.
    """

    first: Int32[np.ndarray | Array, "*n out"]
    weights: Int32[np.ndarray | Array, "*n out taps"]
    size: Int32[np.ndarray | Array, "*n"]


def batch_taps(sizes: Int[np.ndarray, "n 2"], out: int) -> tuple[AxisTaps, AxisTaps]:
    """Returns the taps of a batch of images along heights and widths: NumPy arrays.

    The number of taps follows the longest side, in steps, as canvases do: few shapes are ever compiled.
    """
    num_taps = _num_taps(_bucket_px(int(sizes.max(initial=1))), out)
    rows, cols = (_stack_taps(axis, out, num_taps) for axis in sizes.T)
    return rows, cols


def _bucket_px(size: int) -> int:
    """The next power of two."""
    return max(_SMALLEST_BUCKET_PX, 1 << (size - 1).bit_length())


def _num_taps(size: int, out: int) -> int:
    return 2 * math.ceil(_SUPPORT * max(1.0, size / out)) + 1


def _stack_taps(sizes: Int[np.ndarray, " n"], out: int, num_taps: int) -> AxisTaps:
    distinct, where = np.unique(sizes, return_inverse=True)
    taps = [axis_taps(int(size), out, num_taps) for size in distinct]
    return jax.tree.map(lambda *leaves: np.stack(leaves)[where], *taps)


@functools.lru_cache(maxsize=4096)
def axis_taps(size: int, out: int, num_taps: int) -> AxisTaps:
    """Returns the taps of an axis of `size` pixels, read-only: Pillow's operations in Pillow's order."""
    scale = size / out
    stretch = max(scale, 1.0)
    centres = (np.arange(out) + 0.5) * scale
    # Truncation towards zero, as C's cast.
    first = np.maximum((centres - _SUPPORT * stretch + 0.5).astype(np.int32), 0)
    last = np.minimum((centres + _SUPPORT * stretch + 0.5).astype(np.int32), size)
    pixels = first[:, None] + np.arange(num_taps)
    weights = _bicubic((pixels - centres[:, None] + 0.5) * (1.0 / stretch))
    weights = np.where(pixels < last[:, None], weights, 0.0)
    weights /= weights.cumsum(1)[:, -1:]  # one after another, as C sums: NumPy's sum takes pairs
    whole = np.trunc(weights * (1 << _PRECISION_BITS) + np.copysign(0.5, weights))
    taps = AxisTaps(first, whole.astype(np.int32), np.array(size, np.int32))
    for leaf in jax.tree.leaves(taps):
        leaf.flags.writeable = False
    return taps


def _bicubic(distance: Float64[np.ndarray, "out taps"]) -> Float64[np.ndarray, "out taps"]:
    """Pillow's `bicubic_filter`, whose order of operations decides the last digit."""
    a, x = -0.5, np.abs(distance)
    inner = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, inner, np.where(x < 2.0, outer, 0.0))


def resize_rounded(
    images: UInt8[Array, "n side_h side_w 3"] | Float32[Array, "n side_h side_w 3"],
    rows: AxisTaps,
    cols: AxisTaps,
) -> Float32[Array, "n out out 3"]:
    """Returns what Pillow makes of the images, as whole numbers in float32.

    Args:
      images: In 0..255, each in the top-left corner of its canvas. Floats are rounded first, half up.
      rows: Taps along the heights.
      cols: Taps along the widths.
    """
    n, side_h, side_w, _ = images.shape
    out = rows.first.shape[1]
    # Widths first, as Pillow up to version 12: the rounding between the axes makes the order matter.
    turned = _to_integers(images).swapaxes(1, 2).reshape(n, side_w, side_h * 3)
    narrow = _sum_taps(turned, cols).reshape(n, out, side_h, 3).swapaxes(1, 2)
    small = _sum_taps(narrow.reshape(n, side_h, out * 3), rows)
    return small.reshape(n, out, out, 3).astype(jnp.float32)


def _to_integers(images: Array) -> Int32[Array, "n h w 3"]:
    if images.dtype != jnp.uint8:
        images = jnp.clip(jnp.floor(images + 0.5), 0, 255)
    return images.astype(jnp.int32)


def _sum_taps(images: Int32[Array, "n side m"], taps: AxisTaps) -> Int32[Array, "n out m"]:
    """Returns the weighted sums of rows, rounded half up and clipped to 0..255.

    A tap at a time: no window of rows is ever copied, and integer products of matrices are slow on most
    devices.
    """
    n, side, m = images.shape
    first, weights = jnp.asarray(taps.first), jnp.asarray(taps.weights)
    take_rows = jax.vmap(lambda image, rows: image[rows])

    def add_tap(k: Array, total: Int32[Array, "n out m"]) -> Int32[Array, "n out m"]:
        # Rows beyond the image weigh 0, whatever the clipped index finds there.
        rows = take_rows(images, jnp.minimum(first + k, side - 1))
        return total + jax.lax.dynamic_index_in_dim(weights, k, 2) * rows

    # 255 times the sum of the absolute weights, at most 1.4 * 2^22, stays below 2^31.
    half = jnp.full((n, first.shape[1], m), 1 << (_PRECISION_BITS - 1), jnp.int32)
    total = jax.lax.fori_loop(jnp.int32(0), jnp.int32(weights.shape[2]), add_tap, half)
    return jnp.clip(total >> _PRECISION_BITS, 0, 255)


def resize_rounded_on_host(
    image: UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"], size_px: int
) -> Float32[np.ndarray, "out out 3"]:
    """Returns what Pillow makes of one image, as whole numbers in float32; floats are rounded first."""
    whole = np.floor(image + 0.5).clip(0, 255) if image.dtype != np.uint8 else image
    picture = Image.fromarray(whole.astype(np.uint8))
    resized = resize_columns_first(picture, (size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.float32)
