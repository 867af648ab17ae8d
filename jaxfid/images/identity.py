"""What a set of images is, short enough to compare with an earlier run's or another process's."""

import concurrent.futures
import functools
import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxfid.errors import InputError
from jaxfid.images.cores import count_usable_cores
from jaxfid.images.interface import ImageSource, digest_lines

NUM_LOOKED_AT = 16
_CHUNK = 256  # images per task, as handing one over costs as much as looking at an image

_known: weakref.WeakKeyDictionary[ImageSource, dict[Any, Any]] = weakref.WeakKeyDictionary()


def identify_source(source: ImageSource, *, strict: bool = False) -> dict[str, Any]:
    """Returns what tells a set from another on this machine, and from itself after a change.

    To the content (see `identify_content`) come the modification time in ns and the inode of each file
    (of an archive: its own), where the file system has them. So a file that was written anew is another
    file, whatever is in it.

    What cannot be seen without `strict`: bytes changed in place, outside of those looked at, by someone
    who set the modification time back; bytes of an array in memory outside of those looked at; items of a
    sequence or source of the user's own that are not among the few looked at. What cannot be seen at all:
    that a generator draws other images under the same name. A source counts as what it was when it was first
    looked at.

    Args:
      source: The set.
      strict: Whether to look at every byte of every image.

    Raises:
      InputError: A file cannot be read.
    """
    versions = _remember(source, "versions", lambda: digest_lines(_versions(source)))
    return {**identify_content(source, strict=strict), "versions of files": versions}


def identify_content(source: ImageSource, *, strict: bool = False) -> dict[str, Any]:
    """Returns what tells a set from another by its content alone, the same on every machine.

    The number of images, and a digest of all keys and fingerprints: the size and, of each image as it is
    kept, all bytes up to 16 kB or 4 kB spread over more, or the checksum that its format keeps. Of sources
    that say nothing of their images without making them, the pixels of a few are looked at. 10,000 files
    take 0.4 s of one core.

    Args:
      source: The set.
      strict: Whether to look at every byte of every image.

    Raises:
      InputError: A file cannot be read.
    """
    content = _remember(source, ("content", strict), lambda: _digest(source, strict))
    return {"number of images": len(source), "content": content}


def _remember(source: ImageSource, name: Any, compute: Any) -> Any:  # noqa: ANN401
    """A pass asks several times, and a listing of many files on a shared disk takes seconds."""
    known = _known.setdefault(source, {})
    if name not in known:
        known[name] = compute()
    return known[name]


def _digest(source: ImageSource, strict: bool) -> str:
    lines = (
        f"{key}\0{print_}" for key, print_ in zip(source.keys, _prints(source, strict), strict=True)
    )
    return digest_lines(lines)


def _prints(source: ImageSource, strict: bool) -> list[str]:
    """The fingerprint of each image, some at once: a disk far away takes its time for each."""
    positions = range(len(source))
    if len(source) and not strict and _print(source, False, 0) == "":
        positions = np.unique(np.linspace(0, len(source) - 1, NUM_LOOKED_AT).astype(int)).tolist()
        strict = True
    chunks = [positions[start : start + _CHUNK] for start in range(0, len(positions), _CHUNK)]
    with concurrent.futures.ThreadPoolExecutor(count_usable_cores(), "jaxfid-identify") as pool:
        parts = pool.map(functools.partial(_prints_of, source, strict), chunks)
        found = dict(zip(positions, itertools.chain.from_iterable(parts), strict=True))
    return [found.get(index, "") for index in range(len(source))]


def _prints_of(source: ImageSource, strict: bool, positions: Sequence[int]) -> list[str]:
    return [_print(source, strict, index) for index in positions]


def _print(source: ImageSource, strict: bool, index: int) -> str:
    try:
        return source.fingerprint(index, whole=strict)
    except InputError:  # the pass itself deals with it, as the user has chosen
        return "unreadable"


def _versions(source: ImageSource) -> list[str]:
    return [_version(source, index) for index in range(len(source))]


def _version(source: ImageSource, index: int) -> str:
    try:
        return source.version(index)
    except InputError:
        return "unreadable"
