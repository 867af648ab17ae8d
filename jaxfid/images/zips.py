"""Image files in a zip archive, read where they lie."""

import os
import struct
import typing
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence

from etils import epath

from jaxfid.errors import InputError
from jaxfid.images.decode import MAX_IMAGE_BYTES
from jaxfid.images.formats import HEAD_BYTES
from jaxfid.images.interface import name_some
from jaxfid.images.listing import ListedSource
from jaxfid.storage.files import open_file
from jaxfid.storage.paths import is_remote
from jaxfid.storage.random_access import FileReader
from jaxfid.storage.streams import ByteReader

_MEMBER = b"PK\3\4"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_EXTRA_BYTES = (
    64  # behind a member's name, as most writers have them: times, owner, sizes of 64 bits
)
_END_BYTES = 22  # of the last record, before its comment
_UNCOUNTED = 0xFFFF  # its number of members where 16 bits do not hold it
_PACKED_HEAD_BYTES = 1024  # enough to inflate the first bytes, behind the tables of a block


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
        return self.header_offset + self._header_bytes(header, file)

    def _header_bytes(self, start: bytes, file: FileReader) -> int:
        """The length of the header that some bytes start with."""
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(start)
        if signature != _MEMBER:
            raise InputError(f"{file.path}: corrupt zip, {self.name} is not where it should be")
        return _LOCAL_HEADER.size + name_bytes + extra_bytes

    def _read_packed(self, file: FileReader, num_bytes: int) -> bytes:
        """The first packed bytes, mostly by one read: in a bucket each is a request."""
        guessed = _LOCAL_HEADER.size + len(self.name.encode("utf-8", "replace")) + _EXTRA_BYTES
        length = min(guessed + num_bytes, file.num_bytes - self.header_offset)
        if length < _LOCAL_HEADER.size:
            raise InputError(f"{file.path}: cut off, ends before byte {self.header_offset}")
        data = file.read_at(self.header_offset, length)
        begin = self._header_bytes(data, file)
        if begin + num_bytes > length:  # what stands behind the name is long
            return file.read_at(self.header_offset + begin, num_bytes)
        return data[begin : begin + num_bytes]

    def read(self, file: FileReader, *, max_bytes: int) -> bytes:
        """Returns the whole member, checked against its checksum."""
        if max(self.num_bytes, self.packed_bytes) > max_bytes:
            raise InputError(
                f"{file.path}/{self.name}: expected at most {max_bytes} bytes in a file of this kind, "
                f"found {max(self.num_bytes, self.packed_bytes)}"
            )
        data = self._read_packed(file, self.packed_bytes)
        if self.deflated:
            # One byte more than declared is enough to find out that there are more.
            data = self._inflate(data, self.num_bytes + 1, file)
        if len(data) != self.num_bytes or zlib.crc32(data) != self.crc:
            raise InputError(f"{file.path}/{self.name}: corrupt, its checksum does not fit")
        return data

    def read_head(self, file: FileReader) -> bytes:
        """Returns the member's first bytes, unchecked; none where they cannot be had."""
        try:
            packed = min(self.packed_bytes, _PACKED_HEAD_BYTES)
            data = self._read_packed(file, packed)
            return self._inflate(data, HEAD_BYTES, file) if self.deflated else data[:HEAD_BYTES]
        except InputError:
            return b""  # no image then, and not to be read again

    def _inflate(self, data: bytes, max_bytes: int, file: FileReader) -> bytes:
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max_bytes)
        except zlib.error as error:
            raise InputError(f"{file.path}/{self.name}: corrupt: {error}") from error


def list_zip(path: epath.Path) -> list[ZipMember]:
    """Returns the files in a zip archive, in the order it lists them.

    Raises:
      InputError: No zip file, a corrupt one, or members that are encrypted or packed otherwise than
        stored or deflated.
    """
    with open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:  # type: ignore[arg-type]  # it reads alone
                infos = archive.infolist()
                declared = _count_entries(file, len(archive.comment))
        except Exception as error:  # It raises whatever a corrupt listing leads it to.
            raise InputError(f"{path}: expected a zip file, found it corrupt: {error}") from error
        num_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        begin = file.read(len(_MEMBER))
    if declared not in (_UNCOUNTED, len(infos) & 0xFFFF):  # some writers drop the higher bits
        found = f"{declared} members, found {len(infos)}"
        raise InputError(f"{path}: corrupt zip: its end says that there are {found}")
    first = min((info.header_offset for info in infos), default=0)
    infos = [info for info in infos if not info.filename.endswith("/")]
    _check_zip(path, infos, num_bytes)
    # The last archive alone is listed. Other bytes before it are a program that unpacks it.
    if begin == _MEMBER and first > 0:
        raise InputError(
            f"{path}: expected one zip file, found members before those that it lists, as of two files "
            "joined; pack the images of both into one"
        )
    return [
        ZipMember(
            *(info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC),
            deflated=info.compress_type == zipfile.ZIP_DEFLATED,
        )
        for info in infos
    ]


def _count_entries(file: ByteReader, comment_bytes: int) -> int:
    """What the end of an archive says of its number of members, which zipfile does not look at."""
    end = file.seek(-_END_BYTES - comment_bytes, os.SEEK_END)
    file.seek(end + 10)
    return int.from_bytes(file.read(2), "little")


def _check_zip(path: epath.Path, infos: Sequence[zipfile.ZipInfo], num_bytes: int) -> None:
    if encrypted := [info.filename for info in infos if info.flag_bits & 1]:
        raise InputError(f"{path}: encrypted members: {name_some(encrypted)}; decrypt it first")
    known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if packed := [info.filename for info in infos if info.compress_type not in known]:
        raise InputError(
            f"{path}: expected members stored or deflated, found another compression in "
            f"{name_some(packed)}; pack it again"
        )
    if nameless := [info for info in infos if not info.filename]:
        raise InputError(f"{path}: corrupt zip, {len(nameless)} of its members have no name")
    beyond = [i.filename for i in infos if i.header_offset + i.compress_size > num_bytes]
    before = [i.filename for i in infos if i.header_offset < 0]
    if outside := beyond + before:  # checked here, so that nothing of such a size is allocated
        raise InputError(f"{path}: corrupt zip, not within it: {name_some(outside)}")


class ZipSource(ListedSource):
    """The image files of a zip archive, in the order of their paths in it."""

    def __init__(self, path: epath.Path, *, name: str, image_key: str | None = None) -> None:
        members = list_zip(path)
        names = Counter(member.name for member in members)
        if twice := [key for key, count in names.items() if count > 1]:
            raise InputError(f"{name}: expected every path once, found twice {name_some(twice)}")
        self._members = {member.name: member for member in members}
        self._file = FileReader(path)
        self.is_remote = is_remote(path)
        super().__init__(list(self._members), name=name, image_key=image_key)

    def read_content(self, key: str) -> bytes:
        """Returns a member's bytes."""
        return self._members[key].read(self._file, max_bytes=MAX_IMAGE_BYTES)

    def read_head(self, key: str) -> bytes:
        """Returns a member's first bytes."""
        return self._members[key].read_head(self._file)

    def locate(self, key: str) -> str:
        """Returns the archive's path and the member's in it."""
        return f"{self._file.path}/{key}"

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the member's size and checksum, which the listing holds and reading checks."""
        member = self._members[self.keys[index]]
        return f"{member.num_bytes} {member.crc}"
