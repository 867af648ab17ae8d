"""Crops of whole images before any resize: host functions on 8-bit pixels, with Pillow's own arithmetic.

A crop is written as a string, so that it can stand on a command line and in a file:

    center       the largest square in the middle (CMMD, EDM's dataset tool)
    adm:SIZE     ADM's ImageNet crop: halve by box while the short side is at least 2 * SIZE, then bicubic
                 until the short side is SIZE, then the middle square
    short:SIZE   torchvision's Resize and CenterCrop: bicubic until the short side is SIZE, then the middle
                 square (CLIP's own preprocessing, clean-fid's CLIP-FID)
"""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images.decode import MAX_IMAGE_PIXELS
from jaxfid.preprocessing.pillow import resize_columns_first

LARGEST_CROP_PX = 4096
"""Images are enlarged to the size as well: without a bound, a slip of a digit fills the memory."""

_EXPECTED = f"center, adm:SIZE or short:SIZE, with a SIZE of 1 to {LARGEST_CROP_PX} pixels"


def crop_image(
    image: UInt8[np.ndarray, "h w 3"], crops: Iterable[str]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Returns the image after each of the crops, in order; the same array where there are none.

    Safe to call from many threads.

    Args:
      image: 8-bit RGB.
      crops: As the module lists them.

    Raises:
      InputError: A crop is none of those that the module lists.
    """
    for crop in crops:
        image = parse_crop(crop)(image)
    return image


def keeps_whole(crop: str, height: int, width: int) -> bool:
    """Returns whether the crop leaves an image of this size as it is.

    Raises:
      InputError: The string names no crop.
    """
    parse_crop(crop)
    _, _, size = crop.partition(":")
    return height == width and (crop == "center" or height == int(size))


def parse_crop(crop: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that a crop's string names.

    Raises:
      InputError: The string names no crop.
    """
    kind, _, size = crop.partition(":")
    if crop == "center":
        return _crop_square
    # The length comes first: Python takes minutes over a number of a million digits.
    is_number = size.isascii() and size.isdecimal() and len(size) <= 6
    if kind in _SIZED and is_number and 1 <= int(size) <= LARGEST_CROP_PX:
        return lambda image: _SIZED[kind](image, int(size))
    raise InputError(f"crop: expected {_EXPECTED}, found {crop!r}")


def _crop_square(image: np.ndarray) -> np.ndarray:
    return _crop_middle(image, min(image.shape[:2]))


def _crop_middle(image: np.ndarray, size: int) -> np.ndarray:
    """Cuts the middle; of an odd margin the larger half lies right and below, as in ADM, EDM and CMMD."""
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def _resize_bicubic(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Returns the picture in another size, where a strip of few rows does not become too large by it."""
    if width * height > MAX_IMAGE_PIXELS:
        found = f"{picture.width} x {picture.height} pixels"
        raise InputError(
            f"expected an image that its crop enlarges to at most {MAX_IMAGE_PIXELS:,} pixels, found "
            f"{found}, which become {width} x {height}"
        )
    return resize_columns_first(picture, (width, height), Image.Resampling.BICUBIC)


def _crop_as_adm(image: np.ndarray, size: int) -> np.ndarray:
    """Source: center_crop_arr in guided_diffusion/image_datasets.py of openai/guided-diffusion."""
    picture = Image.fromarray(image)
    while min(picture.size) >= 2 * size:
        width, height = picture.size
        half = (width // 2, height // 2)
        picture = resize_columns_first(picture, half, Image.Resampling.BOX)
    scale = size / min(picture.size)
    # Python's round, which goes to even numbers, is part of the rule.
    width, height = (round(side * scale) for side in picture.size)
    resized = _resize_bicubic(picture, width, height)
    return _crop_middle(np.asarray(resized), size)


def _crop_short_side(image: np.ndarray, size: int) -> np.ndarray:
    """Source: Resize and CenterCrop of torchvision.transforms on Pillow images."""
    height, width = image.shape[:2]
    short = min(height, width)
    # torchvision cuts the long side's fraction off, and rounds the margin to even numbers.
    height, width = (int(size * side / short) for side in (height, width))
    picture = Image.fromarray(image)
    resized = _resize_bicubic(picture, width, height)
    top, left = (round((side - size) / 2) for side in (height, width))
    return np.asarray(resized)[top : top + size, left : left + size]


_SIZED: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "adm": _crop_as_adm,
    "short": _crop_short_side,
}
