"""File bytes to 8-bit RGB: the one place that decides what a pixel is.

Every rule gives the pixels of `Image.open(path).convert("RGB")`, which is what the tools behind
published scores do, but for the last two, where those pixels would be wrong:

* Grey and 1 bit: repeated in all three channels. Palette: looked up.
* Alpha: dropped, not blended with any background; the colours under it count.
* CMYK: Pillow's plain formula; embedded colour profiles are not applied.
* EXIF orientation: not applied. Several frames: the first.
* 16-bit colour: the high byte, as Pillow does. 16-bit grey: the high byte too, where Pillow
  clips at 255 and makes the image white. 12-bit grey TIFF: the high 8 of the 12 bits.
* 32-bit integers and floats have no agreed range and are refused, where Pillow clips.
"""

import functools
import io
import os
import struct

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, TiffImagePlugin

from jaxfid.errors import InputError
from jaxfid.images import png
from jaxfid.images.formats import FORMATS, HEAD_BYTES
from jaxfid.storage.files import read_file

MAX_IMAGE_PIXELS = 1 << 27
"""Pixels of the largest image that is decoded: 134 million.

The largest cameras make 102 and 108 million. A file of 21 kB can claim more than these, and each
worker may hold one at a time, 400 MB in colour.
"""

PIXELS_VARIABLE = "JAXFID_MAX_IMAGE_PIXELS"
"""The environment variable that sets another limit."""

MAX_IMAGE_BYTES = 1 << 30
"""Bytes of the largest file that is read as an image; `MAX_IMAGE_PIXELS` of 16-bit colours have 805 MB."""


def decode_file(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image in a file, local or in a bucket, as 8-bit RGB.

    Raises:
      InputError: It cannot be read, or is not a whole image of a known still format.
    """
    return decode_image(read_file(path, max_bytes=MAX_IMAGE_BYTES), os.fspath(path))


def decode_image(data: bytes, key: str) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image in a file's bytes as 8-bit RGB; the module says by which rules.

    Args:
      data: The whole file.
      key: What an error calls it.

    Raises:
      InputError: The bytes are not a whole image of a known still format, or no rule covers its pixels.
    """
    require_strict_pillow()
    if data.startswith(png.SIGNATURE):
        data = png.check_png(data, key)
    try:
        with _open(data, key) as image:
            return image_to_rgb(image, key)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's parsers raise whatever a corrupt file leads them to.
        raise InputError(f"{key}: expected a whole image, found a corrupt one: {error}") from error


def require_strict_pillow() -> None:
    """Checks that Pillow refuses files that are cut off.

    Raises:
      InputError: It was told not to. That is not the fault of an image, so no image is skipped for it.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES: expected False, found True; cut-off files would "
            "be scored as half grey. Set it to False, and on_error='skip' to go on without them"
        )


def image_to_rgb(image: Image.Image, key: str) -> UInt8[np.ndarray, "h w 3"]:
    """Returns an image of Pillow's as 8-bit RGB, by the same rules as a file; it is left as it was.

    Raises:
      InputError: Its mode is one without a rule.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return np.repeat(_high_byte(image, key)[:, :, None], 3, axis=2)
    image.load()  # sets some of what `info` holds
    if image.mode == "La":
        return np.asarray(image.convert("LA").convert("RGB"))
    if image.mode == "RGB":
        return np.asarray(image)
    if "transparency" in image.info:  # Conversion drops it, but first warns of some kinds of it.
        image = image.copy()
        del image.info["transparency"]
    return np.asarray(image.convert("RGB"))


def _open(data: bytes, key: str) -> Image.Image:
    """What `Image.open` does, with our limit of pixels in place of Pillow's.

    Pillow's is a variable of the whole process, and half of it a warning, which some programs
    turn into an error.
    """
    file = io.BytesIO(data)
    for factory, accepts in _readers():
        try:
            accepted = accepts is None or accepts(data[:HEAD_BYTES])
            if not accepted or isinstance(accepted, str):  # a text: why this Pillow cannot
                continue
            file.seek(0)
            image = factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # how a reader says: not mine
            continue
        _check_pixels(image.width * image.height, key)
        return image
    found = f"{len(data)} bytes of another kind" if data else "an empty file"
    raise InputError(f"{key}: expected an image that Pillow reads, found {found}")


@functools.cache
def _readers() -> tuple:
    """The readers of our formats that this Pillow has."""
    Image.init()
    return tuple(Image.OPEN[name] for name in FORMATS if name in Image.OPEN)


def _check_pixels(found: int, key: str) -> None:
    if found > (limit := _max_pixels()):
        raise InputError(
            f"{key}: expected an image of at most {limit:,} pixels, found {found:,}; if it is what "
            f"it should be, set {PIXELS_VARIABLE} to a larger number"
        )


def _max_pixels() -> int:
    value = os.environ.get(PIXELS_VARIABLE, str(MAX_IMAGE_PIXELS))
    if not value.isdecimal():
        raise InputError(f"{PIXELS_VARIABLE}: expected a number of pixels, found {value!r}")
    return int(value)


def _high_byte(image: Image.Image, key: str) -> UInt8[np.ndarray, "h w"]:
    """The high 8 bits of a grey image of up to 16."""
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    # Pillow scales grey maps (PGM) of more than 8 bits to 0..65535 in mode I.
    if not image.mode.startswith("I;16") and not (image.mode == "I" and image.format == "PPM"):
        kind = "floats" if image.mode == "F" else f"integers of mode {image.mode}"
        raise InputError(
            f"{key}: expected pixels of at most 16 bits, found {kind}, which have no agreed range; "
            "save 8 or 16 bits unsigned"
        )
    return (np.asarray(image) >> (bits - 8)).astype(np.uint8)
