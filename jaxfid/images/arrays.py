"""Images in arrays in memory, and what every array of images must be."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.interface import ImageSource


class ArraySource(ImageSource):
    """The images of an array in memory; keys are their positions."""

    def __init__(self, images: np.ndarray, *, name: str) -> None:
        """Takes `(n, h, w, 3)` or, grey, `(n, h, w)`; raises InputError for any other."""
        check_image_array(images.shape, images.dtype, name)
        self.name = name
        self.keys = make_position_keys(len(images))
        self._images = images

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position, a view where it has three channels."""
        return in_three_channels(np.asarray(self._images[index]))

    def stamp(self, index: int) -> str:
        """Returns the image's size in bytes."""
        return str(self._images[index].nbytes)


class SequenceSource(ImageSource):
    """A random-access sequence of arrays, `(h, w, 3)` or `(h, w)`, of any sizes.

    Its `__getitem__` is called from several threads at once unless decoding has no workers.
    """

    def __init__(self, images: Sequence[np.ndarray], *, name: str) -> None:
        """Takes the sequence and looks at its first image; raises InputError if that is none."""
        self.name = name
        self.keys = make_position_keys(len(images))
        self._images = images
        if not self.keys:
            raise InputError(f"{name}: expected images, found an empty sequence")
        self.read(0)

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the item at a position as an image."""
        image = self._images[index]
        if not hasattr(image, "__dlpack__"):  # Pillow's palette images would pass for grey.
            found = type(image).__name__
            raise InputError(f"{self.name}[{index}]: expected an array, found {found}")
        image = np.asarray(image)
        check_image_array((1, *image.shape), image.dtype, f"{self.name}[{index}]")
        return in_three_channels(image)

    def stamp(self, index: int) -> str:
        """Returns nothing: an item's size is not known without making it."""
        return ""


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


def in_three_channels(image: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a grey image repeated in three channels; one of three as it is."""
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
