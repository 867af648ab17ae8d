"""What every source of images offers, and a subset of one."""

import abc
import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Int, UInt8

from jaxfid.errors import InputError

WHOLE_BYTES = 16384
"""Content up to this size is looked at whole: one piece costs no more than several small ones."""

SAMPLED_BYTES = 4096
"""Of larger content so many bytes are looked at, in pieces spread over it."""

_SAMPLES = 8


class ImageSource(abc.ABC):
    """Images in a fixed order, each read on its own, from any thread.

    Files are ordered by key: the path below the root with forward slashes, compared code point by
    code point, the same on every system. Arrays and sequences keep their own order.

    A source of your own needs `name`, `keys` and `read`.

    Attributes:
      name: What the user called the source.
      keys: One per image, no two alike; an image's index is its position here.
      labels: One per image: its class in a data set, or its folder below the root. None where there are
        none.
      others: Files that lie beside the images and are none of them, sorted; hidden ones are not listed.
      remarks: Sentences on what was left out, or on what may not be meant, for the user to read.
      jointly: Whether all processes have to read an image together.
      drawn: Whether images are made in chunks when they are read, from what their fingerprints say.
      is_remote: Whether each image is a request to a place far away: more are read at once than there are
        cores.
    """

    name: str
    keys: Sequence[str]
    labels: Sequence[str] | None = None
    others: Sequence[str] = ()
    remarks: Sequence[str] = ()
    jointly: bool = False
    drawn: bool = False
    is_remote: bool = False

    @abc.abstractmethod
    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position; it may be read-only.

        Raises:
          InputError: It cannot be read or decoded; names the file.
        """

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns what tells an image's content from another's, the same on every machine.

        It is made of the image as it is kept, without decoding: its size and a digest of its bytes
        (of `SAMPLED_BYTES` spread over it above `WHOLE_BYTES`), or a checksum that the format keeps anyway.

        Args:
          index: The image's position.
          whole: Whether to look at every byte.

        Raises:
          InputError: It cannot be read; names the file.
        """
        if not whole:
            return ""  # A sequence of the user's own: an item may be costly to make.
        image = self.read(index)
        return f"{image.shape} {hashlib.sha256(image.tobytes()).hexdigest()}"

    def version(self, index: int) -> str:
        """Returns what this machine's file system says of the file that holds an image.

        Its modification time and number: another after most changes, and on every machine. Empty where
        there is no file.
        """
        return ""

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, indices: Sequence[int] | Int[np.ndarray, " n"]) -> "ImageSource":
        """Returns the images at these positions, in this order, as a source of its own.

        Raises:
          InputError: A position is outside the source, or there twice.
        """
        return _Subset(self, [int(index) for index in indices])

    def digest(self) -> str:
        """Returns the SHA-256 of all keys and fingerprints.

        Equal on every machine that sees the same files below the root, wherever the root lies.

        Raises:
          InputError: A file cannot be read.
        """
        return digest_lines(
            f"{key}\0{self.fingerprint(index)}" for index, key in enumerate(self.keys)
        )


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
        self.others, self.remarks = source.others, source.remarks
        self.drawn, self.is_remote = source.drawn, source.is_remote

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """The labels of those; looked at late, as finding them may mean reading every image's record."""
        labels = self._source.labels
        return None if labels is None else [labels[index] for index in self._indices]

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return self._source.read(self._indices[index])

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        return self._source.fingerprint(self._indices[index], whole=whole)

    def version(self, index: int) -> str:
        return self._source.version(self._indices[index])


def sample_content(
    read_at: Callable[[int, int], bytes | memoryview],
    num_bytes: int,
    *,
    whole: bool = False,
    version: str | None = None,
) -> str:
    """Returns the size of some content and a digest of it, whole or of bytes spread over it.

    Args:
      read_at: From offset and number of bytes to these bytes.
      num_bytes: Size of the content.
      whole: Whether to read all of it, however large.
      version: What a bucket calls the content; where there is one it stands for the digest, as each look at
        an object's bytes is a request.
    """
    if version is not None and not whole:
        return f"{num_bytes} {version}"
    # Any change of a compressed image changes nearly all bytes behind it, so that few are enough; a raw one
    # is told from another by pieces as long as a row of pixels, spread over its height.
    digest = hashlib.sha256()
    if num_bytes <= WHOLE_BYTES:
        digest.update(read_at(0, num_bytes))
    elif whole:
        for offset in range(0, num_bytes, 1 << 20):  # pieces, as it may be larger than the memory
            digest.update(read_at(offset, min(1 << 20, num_bytes - offset)))
    else:
        length = SAMPLED_BYTES // _SAMPLES
        for number in range(_SAMPLES):  # the first and the last bytes are among them
            digest.update(read_at(number * (num_bytes - length) // (_SAMPLES - 1), length))
    return f"{num_bytes} {digest.hexdigest()}"


def digest_lines(lines: Iterable[str]) -> str:
    """Returns the SHA-256 of some lines, whatever is in them, names that are no Unicode included."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def name_some(names: Sequence[str]) -> str:
    """Returns up to ten of the names and how many more there are, for an error."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
