"""Whether the values of drawn images look like the range that the user stated for them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from jaxfid.preprocessing.value_range import ValueRange

MOST_CLIPPED = 0.05
"""Up to this share of clipped values is no reason to speak: samplers overshoot black and white a little."""


class RangeCount(NamedTuple):
    """Counts of the values of some images, each by itself.

    Attributes:
      finite: Whether all of them are.
      low: The lowest value.
      high: The highest value.
      clipped: The share of values outside the stated range.
    """

    finite: Bool[Array | np.ndarray, " n"]
    low: Float[Array | np.ndarray, " n"]
    high: Float[Array | np.ndarray, " n"]
    clipped: Float[Array | np.ndarray, " n"]


def count_range(
    images: UInt8[Array, "n h w c"] | Float[Array, "n h w c"], value_range: ValueRange | None
) -> RangeCount:
    """Returns the counts of the values, without waiting for the device."""
    values = images.astype(jnp.float32)
    low, high = value_range or (0, 255)
    outside = (values < low) | (values > high)
    each = (1, 2, 3)
    finite = jnp.isfinite(values).all(each)
    return RangeCount(finite, values.min(each), values.max(each), outside.mean(each))


def describe_range(count: RangeCount, value_range: ValueRange | None) -> str | None:
    """Returns a sentence for the user where no picture has such values, else None.

    Args:
      count: Of the first images of a set.
      value_range: What the user stated; None for uint8.
    """
    stated = value_range or (0, 255)
    low, high = float(count.low.min()), float(count.high.max())
    clipped = float(count.clipped.mean())
    found = f"the first images hold values of {low:.3g} to {high:.3g}"
    if clipped > MOST_CLIPPED:
        return f"{found}; {clipped:.0%} of them lie outside {_name(stated)} and were clipped"
    if stated == (-1, 1) and low >= 0 and high > 0:
        return f"{found}: in -1..1 they are at least half bright everywhere; are they in 0..1?"
    if stated == (0, 255) and low >= -1 and 0 < high <= 1:
        return f"{found}: in 0..255 they are black; are they in {'0..1' if low >= 0 else '-1..1'}?"
    return None


def _name(value_range: ValueRange) -> str:
    return "{:g}..{:g}".format(*value_range)
