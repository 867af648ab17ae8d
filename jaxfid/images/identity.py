"""What a set of images is, short enough to compare with an earlier run's or another process's."""

import concurrent.futures
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxfid.errors import InputError
from jaxfid.images.cores import count_usable_cores
from jaxfid.images.interface import ImageSource, digest_lines

NUM_LOOKED_AT = 16
_CHUNK = 256  # images per task, as handing one over costs as much as looking at an image

_known: weakref.WeakKeyDictionary[ImageSource, dict[str, str]] = weakref.WeakKeyDictionary()


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
    content = _remember(source, f"content, strict {strict}", lambda: _digest(source, strict))
    return {"number of images": len(source), "content": content}


def _remember(source: ImageSource, name: str, compute: Callable[[], str]) -> str:
    """A pass asks several times, and a listing of many files on a shared disk takes seconds."""
    known = _known.setdefault(source, {})
    if name not in known:
        known[name] = compute()
    return known[name]


def _digest(source: ImageSource, strict: bool) -> str:
    found = _fingerprints(source, strict)
    return digest_lines(f"{key}\0{found[index]}" for index, key in enumerate(source.keys))


def _fingerprints(source: ImageSource, strict: bool) -> list[str]:
    """What each image is made of, some at once: a disk far away takes its time for each."""
    positions = range(len(source))
    if not strict and len(source) and _fingerprint(source, 0, strict=False) == "":
        positions = np.unique(np.linspace(0, len(source) - 1, NUM_LOOKED_AT).astype(int)).tolist()
        strict = True

    def look(chunk: Sequence[int]) -> list[str]:
        return [_fingerprint(source, index, strict=strict) for index in chunk]

    chunks = [positions[start : start + _CHUNK] for start in range(0, len(positions), _CHUNK)]
    with concurrent.futures.ThreadPoolExecutor(count_usable_cores(), "jaxfid-identify") as pool:
        found = itertools.chain.from_iterable(pool.map(look, chunks))
        known = dict(zip(positions, found, strict=True))
    return [known.get(index, "") for index in range(len(source))]


def _fingerprint(source: ImageSource, index: int, *, strict: bool) -> str:
    try:
        return source.fingerprint(index, whole=strict)
    except InputError:  # the pass itself deals with it, as the user has chosen
        return "unreadable"


def _versions(source: ImageSource) -> Iterator[str]:
    for index in range(len(source)):
        try:
            yield source.version(index)
        except InputError:
            yield "unreadable"
