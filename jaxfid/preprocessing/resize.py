"""A protocol's resize, to 299 pixels for Inception, as two banded matrices: `rows @ image @ cols.T`.

Every resize is linear and separable, and but for Pillow's rounded one (`rounded_resize`) it is done here.
The host works out where an output pixel samples the input, because each tool rounds that in its own way
and a compiler is free to fuse the operations. The weights around it are one formula, which NumPy and
jax.numpy both evaluate. Only the band of a matrix is made: the zeros beside it would be most of the work.

    host, per axis size (cached)         device, or a decode worker for large photographs
    axis_positions, batch_positions  ->  resize, or reduce_on_host  ->  normalise
"""

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, Int, Int32, UInt8
from numpy.typing import ArrayLike

from jaxfid.errors import InputError
from jaxfid.platforms import by_platform
from jaxfid.preprocessing.crop import keeps_whole
from jaxfid.preprocessing.protocol import Protocol, ResizeRule
from jaxfid.preprocessing.rounded_resize import (
    AxisTaps,
    batch_taps,
    resize_rounded,
    resize_rounded_on_host,
)

_Floats = Float32[np.ndarray | Array, "..."]

_LARGEST_BLOCK_PX = 32


class AxisPositions(NamedTuple):
    """Where the output pixels of one axis lie in the input, for one image or a batch.

    The position is `base + fraction`, in pixels, 0 being the centre of the first one: split, so
    that float32 loses nothing on a side of thousands of pixels.

    Attributes:
      base: Whole part; -1 where an output pixel lies before the first centre.
      fraction: The rest, in [0, 1].
      stretch: Widening of the kernel: max(1, input / output) with antialiasing, else 1.
      size: Side of the image in pixels, which a canvas may exceed.
    """

    base: Int32[np.ndarray | Array, "*n out"]
    fraction: Float32[np.ndarray | Array, "*n out"]
    stretch: Float32[np.ndarray | Array, "*n"]
    size: Int32[np.ndarray | Array, "*n"]


class BatchPositions(NamedTuple):
    """The positions of a batch, a few kB per image; every leaf leads with the batch axis.

    Attributes:
      rows: Along the heights.
      cols: Along the widths.
    """

    rows: AxisPositions | AxisTaps  # taps where the protocol rounds
    cols: AxisPositions | AxisTaps


def _tf1_centres(size: int, out: int) -> Float32[np.ndarray, " out"]:
    """Returns `dst * (in / out)`, both operations in float32 (image_resizer_state.h of TF 1)."""
    scale = np.float32(size / out)
    return np.minimum(np.arange(out, dtype=np.float32) * scale, np.float32(size - 1))


def _half_pixel_centres(size: int, out: int) -> Float32[np.ndarray, " out"]:
    """Returns `scale * (dst + 0.5) - 0.5` as torch's AVX kernels do: fused, rounded once.

    The product and the difference of float32 numbers of these sizes are exact in float64.
    """
    scale = np.float32(size / out).astype(np.float64)
    exact = scale * (np.arange(out) + 0.5) - 0.5
    return np.clip(exact.astype(np.float32), 0, np.float32(size - 1))


def _pillow_centres(size: int, out: int) -> Float64[np.ndarray, " out"]:
    """Returns Pillow's centres (double, Resample.c), counted from the first pixel's centre."""
    return (np.arange(out) + 0.5) * (size / out) - 0.5


def _torch_centres(size: int, out: int) -> Float64[np.ndarray, " out"]:
    """Returns the centres of torch's antialiased kernels, which round `scale * (dst + 0.5)` to float32.

    Source: `_compute_indices_min_size_weights_aa` in ATen's UpSampleKernel.cpp.
    """
    scale = np.float64(np.float32(size / out))
    rounded = (scale * (np.arange(out) + 0.5)).astype(np.float32)
    return rounded.astype(np.float64) - 0.5


def _triangle(xp: ModuleType, distance: _Floats) -> _Floats:
    return xp.maximum(1 - xp.abs(distance), 0)


def _bicubic(xp: ModuleType, distance: _Floats) -> _Floats:
    """Returns Keys' cubic with a = -0.5, Pillow's BICUBIC (not the -0.75 of torch and OpenCV).

    Factored, so that float32 cancels nothing near the zeros at 1 and 2.
    """
    x = xp.abs(distance)
    inner = (1 - x) * (1 + x - 1.5 * x * x)
    outer = 0.5 * (1 - x) * (2 - x) * (2 - x)
    return xp.where(x < 1, inner, xp.where(x < 2, outer, 0))


_CENTRES: dict[str, Callable[[int, int], np.ndarray]] = {
    "tf1": _tf1_centres,
    "half_pixel": _half_pixel_centres,
    "torch": _torch_centres,
    "pillow": _pillow_centres,
}
_KERNELS: dict[str, Callable[[ModuleType, _Floats], _Floats]] = {
    "triangle": _triangle,
    "cubic": _bicubic,
}
_SUPPORT_PX = {"triangle": 1, "cubic": 2}
"""Distance from which on a kernel is zero."""


@functools.lru_cache(maxsize=4096)
def axis_positions(protocol: Protocol, size: int) -> AxisPositions:
    """Returns where the output pixels lie on an axis of `size` pixels: read-only NumPy arrays.

    Rounded exactly as the protocol's own tool rounds them.

    Raises:
      InputError: `size` is below 1.
    """
    _check_size(size)
    rule = protocol.rule
    centres = _CENTRES[rule.centres](size, protocol.size_px)
    base = np.floor(centres)
    positions = AxisPositions(
        base=base.astype(np.int32),
        fraction=(centres - base).astype(np.float32),
        stretch=np.array(_stretch(rule, size, protocol.size_px), np.float32),
        size=np.array(size, np.int32),
    )
    for leaf in jax.tree.leaves(positions):
        leaf.flags.writeable = False
    return positions


def _check_size(size: int) -> None:
    if size < 1:
        raise InputError(f"size: expected an image side of 1 pixel or more, found {size}")


def _stretch(rule: ResizeRule, size: int, out: int) -> float:
    return max(1.0, size / out) if rule.antialias else 1.0


def batch_positions(protocol: Protocol, sizes: ArrayLike) -> BatchPositions:
    """Returns the positions of a batch of images, for `resize`: NumPy arrays.

    Args:
      protocol: Whose rule.
      sizes: `(n, 2)` integers: height and width of each image, in pixels; (1, 1) for padding.

    Raises:
      InputError: `sizes` is not (n, 2) integers of 1 or more.
    """
    sizes = np.asarray(sizes)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or not np.issubdtype(sizes.dtype, np.integer):
        raise InputError(
            f"sizes: expected (n, 2) integers, heights and widths, found {sizes.dtype}{sizes.shape}"
        )
    if protocol.rule.rounded:
        _check_size(int(sizes.min(initial=1)))
        return BatchPositions(*batch_taps(sizes, protocol.size_px))
    return BatchPositions(*(_gather_positions(protocol, axis) for axis in sizes.T))


def _gather_positions(protocol: Protocol, sizes: Int[np.ndarray, " n"]) -> AxisPositions:
    distinct, where = np.unique(sizes, return_inverse=True)
    positions = [axis_positions(protocol, int(size)) for size in distinct]
    return jax.tree.map(lambda *leaves: np.stack(leaves)[where], *positions)


def _make_weights(
    xp: ModuleType,
    rule: ResizeRule,
    positions: AxisPositions,
    pixels: Int32[np.ndarray | Array, "*n out k"],
) -> Float32[np.ndarray | Array, "*n out k"]:
    """Returns the float32 weight of each of `pixels` in each output pixel; a row sums to 1.

    Pixels outside the image weigh nothing. Offsets from `base` are exact, so that nothing cancels
    far from the origin.
    """
    offsets = (pixels - positions.base[..., None]).astype(np.float32)
    distances = (offsets - positions.fraction[..., None]) / positions.stretch[..., None, None]
    inside = (pixels >= 0) & (pixels < positions.size[..., None, None])
    weights = xp.where(inside, _KERNELS[rule.kernel](xp, distances), 0)
    return weights / weights.sum(axis=-1, keepdims=True)


def resize(
    images: Array | np.ndarray, positions: BatchPositions, protocol: Protocol
) -> Float32[Array, "n out out 3"]:
    """Returns the images at the protocol's size, in 0..255; those of that size unchanged.

    The values are whole numbers where the protocol rounds, and may leave 0..255 where it does not clip.

    To be jitted, with `protocol` static. Sizes and positions are traced, so that one compiled shape
    serves every size that fits its canvas. Full float32 on every backend.

    Args:
      images: `(n, height, width, 3)` of uint8 or float32 in 0..255, each in the top-left corner of a finite
        canvas, which it may fill.
      positions: From `batch_positions` for the sizes of these images.
      protocol: The one that the positions were made for.

    Raises:
      InputError: `images` has another shape or type, or `positions` are of another number of them or of
        another kind of protocol.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype not in (np.uint8, np.float32):
        raise InputError(
            "images: expected (n, height, width, 3) of uint8 or float32 in 0..255, "
            f"found {images.dtype}{images.shape}"
        )
    n = len(images)
    if positions.rows.size.shape != (n,):
        raise InputError(
            f"positions: expected those of {n} images, found {positions.rows.size.shape}; "
            "make them with batch_positions(protocol, sizes), a row of sizes per image"
        )
    images = jnp.asarray(images)
    # Pillow rounds to bytes between its two passes; rules that do not round run as one product of bands.
    match (protocol.rule.rounded, positions.rows, positions.cols):
        case (True, AxisTaps() as rows, AxisTaps() as cols):
            return resize_rounded(images, rows, cols)
        case (False, AxisPositions() as rows, AxisPositions() as cols):
            return _resize_banded(images, rows, cols, protocol)
    raise InputError(f"positions: expected those of {protocol.name}, found another protocol's")


def _resize_banded(
    images: Array, rows: AxisPositions, cols: AxisPositions, protocol: Protocol
) -> Float32[Array, "n out out 3"]:
    rule = protocol.rule
    resized = by_platform(
        *(images, rows, cols),
        wide_tiles=functools.partial(_multiply_matrices, rule=rule),
        otherwise=functools.partial(_multiply_bands, rule=rule),
    )
    return jnp.clip(resized, 0, 255) if rule.clip else resized


def _multiply_matrices(
    images: Array, rows: AxisPositions, cols: AxisPositions, *, rule: ResizeRule
) -> Float32[Array, "n out out 3"]:
    """Returns `rows @ image @ cols.T`, the zeros beside the bands included."""

    def matrix(positions: AxisPositions, side: int) -> Float32[np.ndarray | Array, "n out side"]:
        pixels = jnp.arange(side, dtype=jnp.int32)
        pixels = jnp.broadcast_to(pixels, (*positions.base.shape, side))
        return _make_weights(jnp, rule, positions, pixels)

    multiply = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    _, side_h, side_w, _ = images.shape
    tall = multiply("nyh,nhwc->nywc", matrix(rows, side_h), images.astype(jnp.float32))
    return multiply("nxw,nywc->nyxc", matrix(cols, side_w), tall)


def _multiply_bands(
    images: Array, rows: AxisPositions, cols: AxisPositions, *, rule: ResizeRule
) -> Float32[Array, "n out out 3"]:
    """Returns `rows @ image @ cols.T` without the zeros beside the bands."""
    n, side_h, side_w, _ = images.shape
    out = rows.base.shape[1]
    tall = _resize_rows(images.reshape(n, side_h, side_w * 3), rule, rows)
    turned = tall.reshape(n, out, side_w, 3).swapaxes(1, 2)
    flat = turned.reshape(n, side_w, out * 3)
    resized = _resize_rows(flat, rule, cols)
    return resized.reshape(n, out, out, 3).swapaxes(1, 2)


def _resize_rows(
    images: Float32[Array, "n side m"] | UInt8[Array, "n side m"],
    rule: ResizeRule,
    positions: AxisPositions,
) -> Float32[Array, "n out m"]:
    """Returns weighted sums of rows, in blocks that share the window of rows they can reach."""
    n, side, m = images.shape
    out = positions.base.shape[1]
    block = _block_px(out)
    # The stretch of the canvas, which is the largest.
    reach = math.ceil(_SUPPORT_PX[rule.kernel] * _stretch(rule, side, out))
    window = min(side, math.ceil((block - 1) * side / out) + 2 * reach)
    starts = jnp.clip(positions.base[:, ::block] - reach + 1, 0, side - window)
    pixels = starts[..., None] + jnp.arange(window, dtype=jnp.int32)
    weights = _make_weights(jnp, rule, positions, jnp.repeat(pixels, block, axis=1))
    take_window = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=window)
    windows = jax.vmap(jax.vmap(take_window, in_axes=(None, 0)))(images, starts)
    resized = jnp.einsum(
        "nbyk,nbkm->nbym",
        weights.reshape(n, out // block, block, window),
        windows.astype(jnp.float32),
        precision=jax.lax.Precision.HIGHEST,
    )
    return resized.reshape(n, out, m)


def _block_px(out: int) -> int:
    """Output pixels that share a window of the input, so that no block is ragged: 23 of 299."""
    return max(px for px in range(1, _LARGEST_BLOCK_PX + 1) if out % px == 0)


def normalise(images: Float32[Array, "*n"], protocol: Protocol) -> Float32[Array, "*m"]:
    """Returns the network's input, about -1..1, from resized images in 0..255.

    Zeros are added right and below up to `protocol.input_px`, after the scaling: they are not black.
    """
    shift, divisor = (np.asarray(a, np.float32) for a in (protocol.shift, protocol.divisor))
    scaled = (images - shift) / divisor
    missing = protocol.input_px - protocol.size_px
    if not missing:
        return scaled
    return jnp.pad(scaled, ((0, 0), (0, missing), (0, missing), (0, 0)))


def check_needs_no_crop(protocol: Protocol, height: int, width: int) -> None:
    """Passes when images of this size give the same input with and without the protocol's crops.

    Crops are the host's work; images that are on a device already get none.

    Raises:
      InputError: A crop would cut or resize the images.
    """
    for crop in protocol.crops:
        # torchvision's resize of a square image to the network's size is the protocol's own.
        same = crop == f"short:{protocol.size_px}" and protocol.rule.rounded and height == width
        if not same and not keeps_whole(crop, height, width):
            raise InputError(
                f"images: {protocol.name} crops them ({crop}), which is not done on a device; found "
                f"{height} x {width} pixels. Crop them first, or score them as files"
            )


def reduce_on_host(
    image: UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"], protocol: Protocol
) -> Float32[np.ndarray, "out out 3"]:
    """Returns one image at the protocol's size in 0..255, as `resize` does, in NumPy: for large photographs.

    The crops are not part of it. Safe to call from many threads. `resize` passes the result unchanged, so
    that it may share a batch with images that are yet to be resized.
    """
    rule = protocol.rule
    if rule.rounded:
        return resize_rounded_on_host(image, protocol.size_px)
    height, width, _ = image.shape
    rows, cols = axis_positions(protocol, height), axis_positions(protocol, width)
    resized = _reduce_first_axis(_reduce_first_axis(image, rule, rows).swapaxes(0, 1), rule, cols)
    resized = resized.swapaxes(0, 1)
    return np.ascontiguousarray(resized.clip(0, 255) if rule.clip else resized)


def _reduce_first_axis(
    image: np.ndarray, rule: ResizeRule, positions: AxisPositions
) -> Float32[np.ndarray, "out ..."]:
    reach = math.ceil(_SUPPORT_PX[rule.kernel] * float(positions.stretch))
    pixels = positions.base[:, None] + np.arange(1 - reach, reach + 1, dtype=np.int32)
    weights = _make_weights(np, rule, positions, pixels)
    pixels = pixels.clip(0, positions.size - 1)  # those outside weigh nothing
    flat = image.reshape(len(image), -1)
    # A row at a time, so that no float32 copy of the photograph is made; einsum and not `@`, whose
    # own threads fight those of the decode workers (measured: ten times slower on a busy machine).
    reduced = [np.einsum("k,km->m", w, flat[p]) for w, p in zip(weights, pixels, strict=True)]
    return np.stack(reduced).reshape(-1, *image.shape[1:])
