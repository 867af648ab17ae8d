"""A folder of image files, and what counts as an image file in any listing."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.decode import decode_image
from jaxfid.images.formats import IMAGE_EXTENSIONS
from jaxfid.images.interface import ImageSource


class FolderSource(ImageSource):
    """Every image file in a folder and the folders below it, in the order of their keys.

    Links are followed. Names that begin with a dot are left out, and so are files whose extension,
    in any case, is not an image's.
    """

    def __init__(self, root: Path, *, keys: Sequence[str], name: str) -> None:
        """Takes what `list_files` found below `root`; raises InputError if no key is an image's."""
        self.name = name
        self.keys = sorted(key for key in keys if is_image_name(key))
        self.labels = folder_labels(self.keys)
        self._root = root
        if not self.keys:
            raise InputError(f"{name}: {describe_no_images(keys)}")

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the decoded file at a position."""
        path = self._root / self.keys[index]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        return decode_image(data, str(path))

    def stamp(self, index: int) -> str:
        """Returns the file's size in bytes."""
        path = self._root / self.keys[index]
        try:
            return str(path.stat().st_size)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def list_files(root: Path) -> list[str]:
    """Returns every file below a folder as a path with forward slashes, in no particular order.

    Raises:
      InputError: A folder cannot be listed.
    """
    try:
        return list(_walk(str(root), "", frozenset()))
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be listed: {error.strerror}") from error


def _walk(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    status = Path(folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # A link back to where we came from adds nothing new.
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {identity})
            else:
                yield prefix + entry.name


def is_image_name(key: str) -> bool:
    """Returns whether a path, by its name alone, is an image to be scored."""
    folders = key.split("/")
    if any(part.startswith(".") or part == "__MACOSX" for part in folders):
        return False  # macOS puts a second, unreadable file named like the image beside it.
    _, dot, extension = folders[-1].rpartition(".")
    return dot + extension.lower() in IMAGE_EXTENSIONS


def folder_labels(keys: Sequence[str]) -> list[str] | None:
    """Returns each key's folder ("" at the root), or None where all lie at the root."""
    names: dict[str, str] = {}
    labels = [names.setdefault(label, label) for label in (key.rpartition("/")[0] for key in keys)]
    return labels if any(names) else None


def describe_no_images(keys: Sequence[str]) -> str:
    """Returns what an error says of a listing without images."""
    if not keys:
        return "expected images, found nothing in it"
    return (
        f"expected images, found {len(keys)} other files, such as {min(keys)}; "
        f"images are known by their extension ({', '.join(sorted(IMAGE_EXTENSIONS))})"
    )
