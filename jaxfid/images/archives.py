"""Image files in zip and tar archives, read where they lie."""

import functools
import struct
import tarfile
import typing
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.decode import decode_image
from jaxfid.images.folders import describe_no_images, folder_labels, is_image_name
from jaxfid.images.interface import ImageSource, name_some
from jaxfid.storage.random_access import FileReader

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_TAR_BLOCK_BYTES = 512
_OPEN_SHARDS = 64


class ZipMember(typing.NamedTuple):
    """Where a member of a zip file lies and how it is packed."""

    name: str
    header_offset: int
    packed_bytes: int
    num_bytes: int
    crc: int
    deflated: bool

    def data_offset(self, file: FileReader) -> int:
        """Returns where the packed bytes begin, which only the header before them knows."""
        header = file.read_at(self.header_offset, _LOCAL_HEADER.size)
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        if signature != b"PK\3\4":
            raise InputError(f"{file.path}: corrupt zip, {self.name} is not where it should be")
        return self.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes

    def read(self, file: FileReader) -> bytes:
        """Returns the whole member, checked against its checksum."""
        data = file.read_at(self.data_offset(file), self.packed_bytes)
        if self.deflated:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = inflater.decompress(data, self.num_bytes)
            except zlib.error as error:
                raise InputError(f"{file.path}/{self.name}: corrupt: {error}") from error
        if len(data) != self.num_bytes or zlib.crc32(data) != self.crc:
            raise InputError(f"{file.path}/{self.name}: corrupt, its checksum does not fit")
        return data


def list_zip(path: Path) -> list[ZipMember]:
    """Returns the files in a zip archive, in the order it lists them.

    Raises:
      InputError: No zip file, a corrupt one, or members that are encrypted or packed otherwise than
        stored or deflated.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError) as error:
        raise InputError(f"{path}: expected a zip file, found it corrupt: {error}") from error
    if encrypted := [info.filename for info in infos if info.flag_bits & 1]:
        raise InputError(f"{path}: encrypted members: {name_some(encrypted)}; decrypt it first")
    known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if packed := [info.filename for info in infos if info.compress_type not in known]:
        raise InputError(
            f"{path}: expected members stored or deflated, found another compression in "
            f"{name_some(packed)}; pack it again"
        )
    return [
        ZipMember(
            *(info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC),
            deflated=info.compress_type == zipfile.ZIP_DEFLATED,
        )
        for info in infos
    ]


class ZipSource(ImageSource):
    """The image files of a zip archive, in the order of their paths in it."""

    def __init__(self, path: Path, *, name: str) -> None:
        members = list_zip(path)
        self._members = sorted(member for member in members if is_image_name(member.name))
        self._file = FileReader(path)
        self.name = name
        self.keys = [member.name for member in self._members]
        self.labels = folder_labels(self.keys)
        _check_keys(self, [member.name for member in members])

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the decoded member at a position."""
        member = self._members[index]
        return decode_image(member.read(self._file), f"{self._file.path}/{member.name}")

    def stamp(self, index: int) -> str:
        """Returns the member's size in bytes and its checksum."""
        member = self._members[index]
        return f"{member.num_bytes} {member.crc}"


class _TarMember(typing.NamedTuple):
    """An image in a tar archive; tuples sort by key."""

    key: str
    name: str
    path: Path
    offset: int
    num_bytes: int


class TarSource(ImageSource):
    """The image files of one or several tar archives, in the order of archive and path in it.

    With several archives (WebDataset's shards) a key is `archive/path`; labels are folders within
    the archive either way.
    """

    def __init__(self, paths: dict[str, Path], *, name: str) -> None:
        """Takes the archives by what keys are to call them; one alone is not named in keys."""
        names = []
        self._members: list[_TarMember] = []
        for prefix, path in paths.items():
            members = _list_tar(path, f"{prefix}/" if len(paths) > 1 else "")
            names += [member.key for member in members]
            self._members += [member for member in members if is_image_name(member.name)]
        self._members.sort()
        self._open = functools.lru_cache(_OPEN_SHARDS)(FileReader)
        self.name = name
        self.keys = [member.key for member in self._members]
        self.labels = folder_labels([member.name for member in self._members])
        _check_keys(self, names)

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the decoded member at a position."""
        member = self._members[index]
        data = self._open(member.path).read_at(member.offset, member.num_bytes)
        return decode_image(data, f"{member.path}/{member.name}")

    def stamp(self, index: int) -> str:
        """Returns the member's size in bytes."""
        return str(self._members[index].num_bytes)


def _list_tar(path: Path, prefix: str) -> list[_TarMember]:
    """Returns the files in a tar archive, in the order in which they lie in it."""
    members = []
    try:
        with tarfile.open(path, "r:") as archive:
            infos = list(archive)
        _check_tar(path, infos)
    except (tarfile.TarError, OSError) as error:
        message = f"{path}: expected a whole, uncompressed tar file, found: {error}"
        raise InputError(message) from error
    for info in infos:
        name = info.name.removeprefix("./")
        if info.isfile():
            members.append(_TarMember(prefix + name, name, path, info.offset_data, info.size))
    return members


def _check_tar(path: Path, infos: Sequence[tarfile.TarInfo]) -> None:
    """Checks that images are plain files, and that the listing ends where the archive does."""
    images = [info for info in infos if is_image_name(info.name) and not info.isdir()]
    if links := [info.name for info in images if info.issparse() or not info.isfile()]:
        raise InputError(
            f"{path}: expected plain files, found links or sparse files: {name_some(links)}; "
            "pack it again with --dereference --hard-dereference"
        )
    end = max((i.offset_data + (i.size if i.isfile() else 0) for i in infos), default=0)
    with path.open("rb") as file:
        file.seek(-(-end // _TAR_BLOCK_BYTES) * _TAR_BLOCK_BYTES)
        if any(file.read(_TAR_BLOCK_BYTES)):  # tarfile takes a corrupt header for the end.
            raise InputError(f"{path}: corrupt tar file after {infos[-1].name}")


def _check_keys(source: ImageSource, found: Sequence[str]) -> None:
    if not source.keys:
        raise InputError(f"{source.name}: {describe_no_images(found)}")
    if twice := [key for key, count in Counter(source.keys).items() if count > 1]:
        raise InputError(f"{source.name}: expected every path once, found twice {name_some(twice)}")
