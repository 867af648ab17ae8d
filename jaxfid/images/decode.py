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

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from jaxfid.errors import InputError

_FORMATS = {  # The usual ones first: Pillow tries them in this order.
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    "ICO": (".ico",),
    "BLP": (".blp",),
    "CUR": (".cur",),
    "DCX": (".dcx",),
    "DDS": (".dds",),
    "DIB": (".dib",),
    "FITS": (".fits", ".fit"),
    "FLI": (".fli", ".flc"),
    "FTEX": (".ftc", ".ftu"),
    "GBR": (".gbr",),
    "ICNS": (".icns",),
    "IM": (".im",),
    "IPTC": (".iim",),
    "MSP": (".msp",),
    "PCD": (".pcd",),
    "PCX": (".pcx",),
    "PIXAR": (".pxr",),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "SUN": (".ras",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}
IMAGE_EXTENSIONS = frozenset(extension for group in _FORMATS.values() for extension in group)
"""Lower-case endings of the files that count as images."""


def decode_image(data: bytes, key: str) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image in a file's bytes as 8-bit RGB; the module says by which rules.

    Args:
      data: The whole file.
      key: What an error calls it.

    Raises:
      InputError: The bytes are no whole image of a known still format, or one without a rule.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES: expected False, found True; cut-off files would "
            "be scored as half grey. Set it to False, and on_error='skip' to go on without them"
        )
    try:
        with Image.open(io.BytesIO(data), formats=_available_formats()) as image:
            image.load()
            return _to_rgb(image)
    except UnidentifiedImageError as error:
        found = f"{len(data)} bytes of another kind" if data else "an empty file"
        raise InputError(f"{key}: expected an image that Pillow reads, found {found}") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{key}: {error} If it is what it should be, raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's parsers raise whatever a corrupt file leads them to.
        raise InputError(f"{key}: expected a whole image, found a corrupt one: {error}") from error


@functools.cache
def _available_formats() -> tuple[str, ...]:
    """Formats of this Pillow that are still pictures in pixels, decoded by Pillow alone.

    Vector formats start other programs (PostScript) or exist on one system only; not those.
    """
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _to_rgb(image: ImageFile.ImageFile) -> UInt8[np.ndarray, "h w 3"]:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return np.repeat(_high_byte(image)[:, :, None], 3, axis=2)
    if image.mode == "La":
        return np.asarray(image.convert("LA").convert("RGB"))
    # Conversion drops transparency, but first warns of some kinds of it.
    image.info.pop("transparency", None)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _high_byte(image: ImageFile.ImageFile) -> UInt8[np.ndarray, "h w"]:
    """The high 8 bits of a grey image of up to 16."""
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    # Pillow scales grey maps (PGM) of more than 8 bits to 0..65535 in mode I.
    if not image.mode.startswith("I;16") and not (image.mode == "I" and image.format == "PPM"):
        kind = "floats" if image.mode == "F" else f"integers of mode {image.mode}"
        raise ValueError(f"it holds {kind}, which have no agreed range; save 8 or 16 bits unsigned")
    return (np.asarray(image) >> (bits - 8)).astype(np.uint8)
