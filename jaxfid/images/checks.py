"""Whether the values of a set's images are those of pictures."""

import itertools
from collections.abc import Iterable

import numpy as np

NUM_LOOKED_AT = 16


def warn_of_range(images: Iterable[np.ndarray]) -> list[str]:
    """Returns a warning where all values of some images lie in a range that no picture has.

    The values of pictures fill 0..255. Where samples were brought from another range by the wrong formula,
    sixteen of them together do not: that is seen here, and cannot be seen in a score.

    Args:
      images: The first images of a set, uint8; `NUM_LOOKED_AT` of them are looked at.
    """
    seen = np.zeros(256, bool)
    for image in itertools.islice(images, NUM_LOOKED_AT):
        seen[np.unique(image)] = True
    return _describe(np.flatnonzero(seen).tolist())


def _describe(values: list[int]) -> list[str]:
    """What is wrong with a set whose first images have these values, and no others, between them."""
    if not values:
        return []
    first = f"its first {NUM_LOOKED_AT} images have no other values than"
    if set(values) <= {0, 1}:
        return [f"{first} 0 and 1; samples in 0..1 are made bytes by (x * 255).round()"]
    if set(values) == {0, 1, 255}:
        return [
            f"{first} 0, 1 and 255, as -1..1 cast to bytes; samples in -1..1 are made bytes by "
            "((x + 1) * 127.5).round()"
        ]
    if values[-1] <= 15:
        return [
            f"{first} 0..{values[-1]}, as 12 bits or fewer in files of 16 bits, whose high byte counts; "
            "scale them to the range of their files"
        ]
    if values[0] >= 127:
        return [
            f"{first} {values[0]}..{values[-1]}, as samples in 0..1 that were taken for -1..1; these are "
            "made bytes by (x * 255).round()"
        ]
    return []
