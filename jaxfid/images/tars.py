"""Image files in tar archives (WebDataset's shards among them), read where they lie."""

import concurrent.futures
import functools
import tarfile
import typing
from collections import Counter
from collections.abc import Mapping, Sequence

from etils import epath

from jaxfid.errors import InputError
from jaxfid.images.decode import MAX_IMAGE_BYTES
from jaxfid.images.formats import HEAD_BYTES, is_image_name
from jaxfid.images.interface import name_some, sample_content
from jaxfid.images.listing import ListedSource
from jaxfid.storage.files import open_file, stat_file
from jaxfid.storage.paths import is_remote
from jaxfid.storage.random_access import FileReader
from jaxfid.storage.streams import ByteReader

_BLOCK_BYTES = 512
_END_BLOCKS = 2  # of zeros, by the format
_OPEN_SHARDS = 64
_LISTED_AT_ONCE = 4  # in a bucket a listing is a download of the whole archive: tar has no index
_READ_BYTES = 1 << 20


class TarMember(typing.NamedTuple):
    """A file in a tar archive."""

    name: str
    path: epath.Path
    offset: int
    num_bytes: int


class TarSource(ListedSource):
    """The image files of one or several tar archives, in the order of archive and path in it.

    With several archives (WebDataset's shards) a key is `archive/path`; labels are folders within
    the archive either way.
    """

    def __init__(
        self, paths: Mapping[str, epath.Path], *, name: str, image_key: str | None = None
    ) -> None:
        """Takes the archives by what keys are to call them; one alone is not named in keys."""
        members = []
        with concurrent.futures.ThreadPoolExecutor(_LISTED_AT_ONCE, "jaxfid-list") as pool:
            listings = list(pool.map(list_tar, paths.values()))
            self._versions = dict(
                zip(paths.values(), pool.map(stat_file, paths.values()), strict=True)
            )
        for prefix, listing in zip(paths, listings, strict=True):
            before = f"{prefix}/" if len(paths) > 1 else ""
            members += [(before + member.name, member) for member in listing]
        if twice := [key for key, count in Counter(k for k, _ in members).items() if count > 1]:
            raise InputError(f"{name}: expected every path once, found twice {name_some(twice)}")
        self._members: dict[str, TarMember] = dict(members)
        self._open = functools.lru_cache(_OPEN_SHARDS)(FileReader)
        self.is_remote = any(map(is_remote, paths.values()))
        super().__init__(list(self._members), name=name, image_key=image_key, are_samples=True)

    def read_content(self, key: str) -> bytes:
        """Returns a member's bytes."""
        member = self._members[key]
        if member.num_bytes > MAX_IMAGE_BYTES:
            raise InputError(
                f"{self.locate(key)}: expected at most {MAX_IMAGE_BYTES} bytes in a file of this kind, "
                f"found {member.num_bytes}"
            )
        return self._read_at(member, 0, member.num_bytes)

    def read_head(self, key: str) -> bytes:
        """Returns a member's first bytes."""
        member = self._members[key]
        return self._read_at(member, 0, min(member.num_bytes, HEAD_BYTES))

    def locate(self, key: str) -> str:
        """Returns the archive's path and the member's in it."""
        member = self._members[key]
        return f"{member.path}/{member.name}"

    def inner_name(self, key: str) -> str:
        """Returns the member's path in its archive."""
        return self._members[key].name

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the member's size and a digest of its bytes."""
        member = self._members[self.keys[index]]
        read_at, archive = functools.partial(self._read_at, member), self._versions[member.path]
        version = archive.version and f"{member.offset} of {archive.num_bytes} {archive.version}"
        return sample_content(read_at, member.num_bytes, whole=whole, version=version)

    def version(self, index: int) -> str:
        """Returns the modification time and inode of the archive."""
        found = self._versions[self._members[self.keys[index]].path]
        return f"{found.mtime_ns} {found.inode}"

    def _read_at(self, member: TarMember, offset: int, num_bytes: int) -> bytes:
        return self._open(member.path).read_at(member.offset + offset, num_bytes)


def list_tar(path: epath.Path) -> list[TarMember]:
    """Returns the files in a tar archive, in the order in which they lie in it.

    Raises:
      InputError: It is not a whole, uncompressed tar archive, or holds images that are not plain files.
    """
    with open_file(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:  # type: ignore[arg-type]
                infos = list(archive)
                end = archive.offset  # of the last member, sparse ones included
        except Exception as error:  # It raises whatever a corrupt header leads it to.
            message = f"{path}: expected a whole, uncompressed tar file, found: {error}"
            raise InputError(message) from error
        _check_members(path, infos)
        _check_end(path, file, end, infos[-1].name if infos else "its start")
    return [
        TarMember(info.name.removeprefix("./"), path, info.offset_data, info.size * info.isfile())
        for info in infos
        if not info.isdir()  # links and the like have no bytes, and are named as other files
    ]


def _check_members(path: epath.Path, infos: Sequence[tarfile.TarInfo]) -> None:
    images = [i for i in infos if is_image_name(i.name.removeprefix("./")) and not i.isdir()]
    if links := [info.name for info in images if info.issparse() or not info.isfile()]:
        raise InputError(
            f"{path}: expected plain files, found links or sparse files: {name_some(links)}; "
            "pack it again with --dereference --hard-dereference"
        )
    if negative := [info.name for info in infos if info.size < 0]:
        raise InputError(f"{path}: corrupt tar file, of a negative size: {name_some(negative)}")


def _check_end(path: epath.Path, file: ByteReader, end: int, last: str) -> None:
    """Checks that the listing ends where the archive does, and the archive as its format says."""
    file.seek(end)  # tarfile takes a corrupt header and the end of the file for the archive's end
    first = file.read(_BLOCK_BYTES * _END_BLOCKS)
    if any(first[:_BLOCK_BYTES]):
        raise InputError(f"{path}: corrupt tar file after {last}")
    if len(first) < _BLOCK_BYTES * _END_BLOCKS or any(first):
        raise InputError(
            f"{path}: cut off after {last}: expected two blocks of zeros, with which a tar file ends; "
            "make it again"
        )
    while rest := file.read(_READ_BYTES):
        if any(rest):
            raise InputError(
                f"{path}: expected one tar file, found more behind its end after {last}; join tar files "
                "with tar --concatenate, or give them in a list"
            )
