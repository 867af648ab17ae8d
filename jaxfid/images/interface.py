"""What every source of images offers, and a subset of one."""

import abc
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError


class ImageSource(abc.ABC):
    """Images in a fixed order, each read on its own, from any thread.

    Files are ordered by key: the path below the root with forward slashes, compared code point by
    code point, the same on every system. Arrays and sequences keep their own order.

    Attributes:
      name: What the user called the source.
      keys: One per image, no two alike; an image's index is its position here.
      labels: One per image: its folder below the root, or its class in a data set. None where there are
        none.
      drawn: Whether images are made in chunks when they are read, from what their stamps say.
    """

    name: str
    keys: Sequence[str]
    labels: Sequence[str] | None = None
    drawn: bool = False

    @abc.abstractmethod
    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position; it may be read-only.

        Raises:
          InputError: It cannot be read or decoded; names the file.
        """

    @abc.abstractmethod
    def stamp(self, index: int) -> str:
        """Returns what is known of an image's content without reading it: its size in bytes."""

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, indices: Sequence[int]) -> "ImageSource":
        """Returns the images at these positions, in this order, as a source of its own.

        Raises:
          InputError: A position is outside the source, or there twice.
        """
        return _Subset(self, [int(index) for index in indices])

    def digest(self) -> str:
        """Returns the SHA-256 of the listing, keys and stamps; the images are not read.

        Equal on every machine that sees the same files below the root, wherever the root lies.
        """
        listing = hashlib.sha256()
        for index, key in enumerate(self.keys):
            entry = f"{key}\0{self.stamp(index)}\n"
            listing.update(entry.encode("utf-8", "surrogatepass"))
        return listing.hexdigest()


class _Subset(ImageSource):
    """Some images of another source."""

    def __init__(self, source: ImageSource, indices: list[int]) -> None:
        outside = [index for index in indices if not 0 <= index < len(source)]
        if outside or len(set(indices)) < len(indices):
            found = f"{name_some([str(i) for i in outside])} outside" if outside else "one twice"
            raise InputError(f"indices: expected distinct 0..{len(source) - 1}, found {found}")
        self._source = source
        self._indices = indices
        self.name = source.name
        self.keys = [source.keys[index] for index in indices]
        self.drawn = source.drawn

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """The labels of those; looked at late, as finding them may mean reading every image's record."""
        labels = self._source.labels
        return None if labels is None else [labels[index] for index in self._indices]

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return self._source.read(self._indices[index])

    def stamp(self, index: int) -> str:
        return self._source.stamp(self._indices[index])


def name_some(names: Sequence[str]) -> str:
    """Returns up to ten of the names and how many more there are, for an error."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
