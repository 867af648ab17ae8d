"""Images in arrays in memory, and what every array of images must be."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images.decode import decode_image, image_to_rgb
from jaxfid.images.interface import ImageSource, sample_content


class ArraySource(ImageSource):
    """The images of an array in memory; keys are their positions."""

    def __init__(self, images: Shaped[np.ndarray, "..."], *, name: str) -> None:
        """Takes `(n, h, w, 3)` or, grey, `(n, h, w)`; raises InputError for any other."""
        check_image_array(images.shape, images.dtype, name)
        self.name = name
        self.keys = make_position_keys(len(images))
        self._images = images

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position, a view where it has three channels."""
        return in_three_channels(np.asarray(self._images[index]))

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the image's size in bytes and a digest of some or all of them."""
        return fingerprint_array(self._images[index], whole=whole)


MAX_IMAGES = 50_000_000
"""Images of the largest array: their keys take 3 GB."""


@runtime_checkable
class RandomAccess(Protocol):
    """What has a length and items by position, whether or not it calls itself a sequence."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...  # noqa: ANN401


class SequenceSource(ImageSource):
    """A random-access sequence of arrays `(h, w, 3)` or `(h, w)`, or of Pillow's images, of any sizes.

    Its `__getitem__` is called from several threads at once unless decoding has no workers.
    """

    def __init__(self, images: RandomAccess, *, name: str) -> None:
        """Takes the sequence; raises InputError if its first item is not an image."""
        self.name = name
        self.keys = make_position_keys(len(images))
        self._images = images
        if not self.keys:
            raise InputError(f"{name}: expected images, found an empty sequence")
        self.read(0)  # a wrong kind of item is an error here, before any work began

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the item at a position as an image."""
        return in_three_channels(as_image(self._images[index], f"{self.name}[{index}]"))

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the size of an image of a list and a digest of it; of other sequences only when `whole`.

        A sequence of another kind may make its items on demand.
        """
        if not whole and not isinstance(self._images, list | tuple):
            return ""
        return fingerprint_array(self.read(index), whole=whole)


def as_image(item: object, name: str) -> UInt8[np.ndarray, "h w *c"]:
    """Returns an array, NumPy's or another library's, an image of Pillow's, or encoded bytes, as an image.

    Raises:
      InputError: It is something else, or no uint8 image of shape `(h, w, 3)` or `(h, w)`.
    """
    if isinstance(item, bytes):
        return decode_image(item, name)
    if isinstance(item, Image.Image):  # NumPy would take a palette's indices for grey levels.
        return image_to_rgb(item, name)
    if not hasattr(item, "__dlpack__"):
        found = type(item).__name__
        raise InputError(
            f"{name}: expected an array, an image of Pillow's or encoded bytes, found {found}"
        )
    image = np.asarray(item)
    check_image_array((1, *image.shape), image.dtype, name)
    return image


def fingerprint_array(image: UInt8[np.ndarray, "h w *c"], *, whole: bool) -> str:
    """Returns the shape of an image in memory and a digest of some or all of its bytes."""
    content = np.ascontiguousarray(image).data.cast("B")
    sampled = sample_content(lambda o, n: content[o : o + n], len(content), whole=whole)
    return f"{image.shape} {sampled}"


def check_image_array(shape: tuple[int, ...], dtype: np.dtype, name: str) -> None:
    """Checks that an array holds images, and tells all that is wrong with it at once.

    Raises:
      InputError: It is empty, or not uint8, or neither `(n, h, w, 3)` nor `(n, h, w)`.
    """
    wrong = []
    if dtype != np.uint8:
        wrong.append(f"dtype {dtype}{_float_remedy(dtype)}")
    grey = len(shape) == 3 and shape[2] not in (3, 4)
    if not grey and not (len(shape) == 4 and shape[3] == 3):
        wrong.append(f"shape {shape}{_shape_remedy(shape)}")
    if 0 in shape:
        wrong.append(f"no images, its shape is {shape}")
    if shape and shape[0] > MAX_IMAGES:
        wrong.append(f"more than {MAX_IMAGES:,} images")
    if wrong:
        expected = "expected uint8 images of shape (n, h, w, 3) or (n, h, w)"
        raise InputError(f"{name}: {expected}, found {'; '.join(wrong)}")


def _float_remedy(dtype: np.dtype) -> str:
    if dtype.kind != "f":
        return " (convert with .astype(np.uint8) if its values are 0..255)"
    return (
        " (make it uint8 as your paper does: for 0..1 usually (x * 255).round().astype(np.uint8), "
        "for -1..1 ((x + 1) * 127.5).round().clip(0, 255).astype(np.uint8))"
    )


def _shape_remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[1] == 3:
        return " (channels first: use x.transpose(0, 2, 3, 1))"
    if len(shape) == 4 and shape[3] == 4:
        return " (four channels: drop alpha with x[..., :3])"
    if len(shape) == 4 and shape[3] == 1:
        return " (one channel: use x[..., 0])"
    if len(shape) == 3:
        return " (one image? use x[None])"
    return ""


def make_position_keys(count: int) -> list[str]:
    """Returns `count` numbers as text, padded so that they sort as they count."""
    digits = len(str(max(count - 1, 0)))
    return [f"{index:0{digits}d}" for index in range(count)]


def in_three_channels(image: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a grey image repeated in three channels; one of three as it is."""
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
