"""A folder of image files, on this machine or in a bucket, and a list of image files."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence

from etils import epath

from jaxfid.errors import InputError
from jaxfid.images.decode import MAX_IMAGE_BYTES
from jaxfid.images.formats import HEAD_BYTES, is_service_folder
from jaxfid.images.interface import name_some, sample_content
from jaxfid.images.listing import ListedSource
from jaxfid.storage.files import (
    FileStat,
    list_objects,
    open_file,
    read_file,
    stat_file,
    stat_objects,
)
from jaxfid.storage.paths import RemotePath


@dataclasses.dataclass
class Listing:
    """What a walk through a folder found.

    Attributes:
      names: Every file below, with forward slashes; a folder that is not gone into ends in a slash.
      repeated: Links that lead to what is listed already, and are not followed.
      objects: What the listing of a bucket says of each file.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    repeated: list[str] = dataclasses.field(default_factory=list)
    objects: Mapping[str, FileStat] = dataclasses.field(default_factory=dict)


class FolderSource(ListedSource):
    """Every image file in a folder and the folders below it."""

    def __init__(
        self, root: epath.Path, listing: Listing, *, name: str, image_key: str | None = None
    ) -> None:
        """Takes what `list_files` found below `root`; raises InputError if no name is an image's."""
        self._root = root
        self._objects = listing.objects
        self.is_remote = isinstance(root, RemotePath)
        remarks = _describe_repeated(listing.repeated)
        super().__init__(listing.names, name=name, image_key=image_key, remarks=remarks)

    def read_content(self, key: str) -> bytes:
        """Returns a file's bytes."""
        listed = self._objects.get(key)
        return read_file(self._root / key, max_bytes=MAX_IMAGE_BYTES, listed=listed)

    def read_head(self, key: str) -> bytes:
        """Returns a file's first bytes; none of an object, as each costs a request."""
        if isinstance(self._root, RemotePath):
            return b""
        with contextlib.suppress(InputError), open_file(self._root / key, buffering=0) as file:
            return file.read(HEAD_BYTES)
        return b""  # what cannot be opened, a FIFO for instance, is no image

    def locate(self, key: str) -> str:
        """Returns the file's path."""
        return str(self._root / key)

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the file's size and a digest of its bytes; an object's size and version."""
        key = self.keys[index]
        if key in self._objects and not whole:
            return _fingerprint_object(self._objects[key])
        return _fingerprint_file(self._root / key, whole=whole)

    def version(self, index: int) -> str:
        """Returns the file's modification time and inode; nothing of an object."""
        return _version_of_file(self._root / self.keys[index])


class FileListSource(ListedSource):
    """Image files by their paths, in the order of these."""

    def __init__(self, paths: Mapping[str, epath.Path], *, name: str) -> None:
        """Takes the paths by their keys; raises InputError if one is not an image's, or not there."""
        self._paths = paths
        self._objects = stat_objects(paths.values())
        self.is_remote = bool(self._objects)
        super().__init__(list(paths), name=name, image_key=None)
        if self.others:
            raise InputError(f"{name}: expected image files alone, found {name_some(self.others)}")
        self.keys = list(paths)

    labels = None  # type: ignore[assignment]  # paths from anywhere: their folders are no classes

    def read_content(self, key: str) -> bytes:
        """Returns a file's bytes."""
        listed = self._objects.get(self._paths[key])
        return read_file(self._paths[key], max_bytes=MAX_IMAGE_BYTES, listed=listed)

    def read_head(self, key: str) -> bytes:
        """Returns nothing: a list with other files than images is an error anyway."""
        return b""

    def locate(self, key: str) -> str:
        """Returns the file's path."""
        return str(self._paths[key])

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the file's size and a digest of its bytes; an object's size and version."""
        path = self._paths[self.keys[index]]
        if path in self._objects and not whole:
            return _fingerprint_object(self._objects[path])
        return _fingerprint_file(path, whole=whole)

    def version(self, index: int) -> str:
        """Returns the file's modification time and inode."""
        return _version_of_file(self._paths[self.keys[index]])


def _fingerprint_file(path: epath.Path, *, whole: bool) -> str:
    with open_file(path, buffering=0) as file:

        def read_at(offset: int, num_bytes: int) -> bytes:
            file.seek(offset)
            return file.read(num_bytes)

        return sample_content(read_at, file.seek(0, os.SEEK_END), whole=whole)


def _fingerprint_object(found: FileStat) -> str:
    """Returns size and version (ETag, generation), the same for every machine that asks."""
    return f"{found.num_bytes} {found.version}"


def _version_of_file(path: epath.Path) -> str:
    if isinstance(path, RemotePath):
        return ""
    found = stat_file(path)
    return f"{found.mtime_ns} {found.inode}"


def list_files(root: epath.Path) -> Listing:
    """Returns every file below a folder.

    No file is listed twice. A link to a folder is followed unless the folder is listed by another path: by
    its own, or by a link whose path comes before. A link to a file counts unless the file is listed
    itself. Two links to one file elsewhere are two files: stores that keep equal content once (git-annex,
    DVC, the cache of Hugging Face) link so, and equal samples of a model are samples.

    Raises:
      InputError: A folder cannot be listed.
    """
    if isinstance(root, RemotePath):
        objects = list_objects(root)
        return Listing([key for key in objects if not key.endswith("/")], objects=objects)
    try:
        return _Walk(str(root)).listing
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be listed: {error.strerror}") from error


class _Walk:
    """A walk through the folders below a root: real folders first, then links to others."""

    def __init__(self, root: str) -> None:
        self.listing = Listing()
        self._seen: set[tuple[int, int]] = set()
        self._links: list[tuple[str, str]] = []
        self._enter(root, "")
        file_links = []
        while self._links:
            links, self._links = sorted(self._links), []
            for key, path in links:
                if os.path.isdir(path):  # noqa: PTH112
                    self._enter(path, f"{key}/")
                else:
                    file_links.append((key, path))
        self._add_links(file_links, root)

    def _enter(self, folder: str, prefix: str) -> None:
        """Lists a folder and the real ones below it; a stack, as they may be deeper than Python's."""
        stack = [(folder, prefix)]
        while stack:
            folder, prefix = stack.pop()
            if not self._is_new(folder):
                self.listing.repeated.append(prefix)
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    stack += self._add(entry, prefix + entry.name)

    def _is_new(self, folder: str) -> bool:
        """Whether a real folder is met for the first time."""
        found = _identify_file(folder)
        known = found in self._seen
        self._seen.add(found)
        return not known

    def _add(self, entry: "os.DirEntry[str]", key: str) -> Iterator[tuple[str, str]]:
        """Puts an entry where it belongs; yields a folder to go into."""
        skipped = entry.name.startswith(".") or is_service_folder(entry.name)
        if skipped and entry.is_dir():
            self.listing.names.append(f"{key}/")
        elif entry.is_symlink():
            self._links.append((key, entry.path))
        elif entry.is_dir():
            yield entry.path, f"{key}/"
        else:
            self.listing.names.append(key)

    def _add_links(self, links: Sequence[tuple[str, str]], root: str) -> None:
        """Adds links to files that are not listed; one that leads nowhere is an error when it is read."""
        if not links:
            return  # the files need no second look
        names = [name for name in self.listing.names if not name.endswith("/")]
        listed = {_identify_file(f"{root}/{name}") for name in names}
        for key, path in links:
            is_listed = os.path.exists(path) and _identify_file(path) in listed  # noqa: PTH110
            (self.listing.repeated if is_listed else self.listing.names).append(key)


def _identify_file(path: str) -> tuple[int, int]:
    """What a file or folder has in common with all links to it."""
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino


def _describe_repeated(repeated: Sequence[str]) -> list[str]:
    if not repeated:
        return []
    count = f"{len(repeated)} link{'s' if len(repeated) > 1 else ''}"
    return [f"{count} to what is listed already not followed: {name_some(sorted(repeated))}"]
