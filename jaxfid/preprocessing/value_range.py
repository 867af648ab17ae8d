"""From the values that generators give to the pixels that protocols begin with."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Shaped, UInt8

from jaxfid.errors import InputError

ValueRange = tuple[float, float]
"""What black and white are in floating images."""

VALUE_RANGES: tuple[ValueRange, ...] = ((0, 255), (0, 1), (-1, 1))


def check_value_range(value_range: Sequence[float] | None) -> ValueRange | None:
    """Returns the range as it is in `VALUE_RANGES`.

    Raises:
      InputError: It is none of them.
    """
    if value_range is None:
        return None
    for known in VALUE_RANGES:
        if known == tuple(value_range):
            return known
    expected = ", ".join(map(str, VALUE_RANGES))
    raise InputError(f"value_range: expected {expected} or None, found {value_range!r}")


def to_pixels(
    images: Shaped[Array, "n h w c"],
    value_range: ValueRange | None,
    *,
    quantize: bool,
) -> UInt8[Array, "n h w 3"] | Float32[Array, "n h w 3"]:
    """Returns the images in 0..255, those of uint8 as they are, others in float32; NaN stays NaN.

    Values beyond the range are clipped, as every image file would clip them.

    Args:
      images: uint8, or floating with the range stated.
      value_range: What black and white are in floating images.
      quantize: Whether floating images are rounded to whole pixels, as papers do before they score:
        `floor(x * 127.5 + 128)` for -1..1, and likewise for other ranges. Its gradient is that of
        the values before they were rounded.

    Raises:
      InputError: The images are floating and the range is not stated, or of another type.
    """
    if images.dtype == jnp.uint8:
        return images
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(f"images: expected uint8 or floating point, found {images.dtype}")
    if value_range is None:
        raise InputError(
            f"images: {images.dtype} could be in any range; state it, as in value_range=(-1, 1)"
        )
    low, high = value_range
    scale = 255 / (high - low)
    images = images.astype(jnp.float32)
    pixels = jnp.clip(images * scale - low * scale, 0, 255)
    if not quantize:
        return pixels
    rounded = jnp.clip(jnp.floor(images * scale + (0.5 - low * scale)), 0, 255)
    # Rounding has no gradient. The value is the rounded one and the gradient that of the pixels.
    return pixels + lax.stop_gradient(rounded - pixels)
