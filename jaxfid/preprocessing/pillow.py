"""Pillow's resize, the same for every version of Pillow."""

from PIL import Image


def resize_columns_first(
    picture: Image.Image, size: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    """Returns the picture at (width, height), one axis after the other: first the width, then the height.

    Pillow rounds 8-bit images between the axes. Up to version 12 it began with the width; version 13 begins
    with the height where that shrinks much more, and an 8-bit image then differs by some grey levels.
    Published numbers are of the older order. With one axis per call there is no order to choose.
    """
    width, height = size
    return picture.resize((width, picture.height), resample).resize((width, height), resample)
