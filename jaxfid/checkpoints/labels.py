"""Which class each drawn image is of, where the sampler is asked for classes."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from jaxfid.errors import InputError
from jaxfid.storage.digests import digest_arrays
from jaxfid.storage.npy import read_npy

LabelsLike = str | os.PathLike[str] | Sequence[Any] | np.ndarray
"""`balanced:1000`, an `.npy` file of whole numbers, or the numbers themselves."""

_BALANCED = "balanced:"
_LARGEST = np.iinfo(np.int32).max


class Labels:
    """The class of every image by its place, the same for every checkpoint.

    Attributes:
      identity: What tells these labels from others.
    """

    def __init__(self, of_images: Int32[np.ndarray, " n"], identity: str) -> None:
        """Takes the classes.

        Args:
          of_images: One for each image.
          identity: What tells these labels from others.
        """
        self._of_images, self.identity = of_images, identity

    def take(self, start: int, count: int) -> Int32[np.ndarray, " count"]:
        """Returns the classes of the images from a place on.

        Chunks are always whole: those of the last one that are no images of the set have the classes of
        the first ones.
        """
        return self._of_images.take(range(start, start + count), mode="wrap")

    def names(self) -> list[str]:
        """Returns the classes as the labels of an image source."""
        return [str(label) for label in self._of_images.tolist()]


def read_labels(labels: LabelsLike, num_images: int) -> Labels:
    """Returns the classes of so many images.

    `balanced:K` gives image `i` the class `i` modulo `K`: any number of images is as balanced as can be.

    Args:
      labels: As `LabelsLike` says; of more labels than images the first are used.
      num_images: How many images are drawn.

    Raises:
      InputError: The labels are not whole numbers from 0 on, or there are too few.
    """
    if isinstance(labels, str) and labels.startswith(_BALANCED):
        return _make_balanced(labels, num_images)
    found = _as_array(labels)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise InputError(
            "labels: expected balanced:CLASSES, or whole numbers in one dimension, found "
            f"{found.dtype} of shape {found.shape}"
        )
    if len(found) < num_images:
        raise InputError(f"labels: expected {num_images}, one for each image, found {len(found)}")
    found = found[:num_images]
    if len(found) and not 0 <= found.min() <= found.max() <= _LARGEST:
        raise InputError(
            f"labels: expected numbers from 0 to {_LARGEST}, found {found.min()} to {found.max()}"
        )
    classes = found.astype(np.int32)
    return Labels(classes, digest_arrays({"labels": classes}))


def _as_array(labels: LabelsLike) -> np.ndarray:
    if isinstance(labels, str | os.PathLike):
        return read_npy(labels)
    try:
        return np.asarray(labels)
    except ValueError as error:  # lists of several lengths
        raise InputError(f"labels: expected whole numbers in one dimension: {error}") from None


def _make_balanced(text: str, num_images: int) -> Labels:
    digits = text.removeprefix(_BALANCED)
    if not digits.isdecimal() or not 0 < int(digits) <= _LARGEST:
        raise InputError(
            f"labels: expected balanced: and a number of classes, as in balanced:1000, found {text!r}"
        )
    classes = np.arange(num_images) % int(digits)
    return Labels(classes.astype(np.int32), f"{_BALANCED}{int(digits)}")
