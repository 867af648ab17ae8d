"""The one reader of `.npz` files: arrays in a zip archive, checksums compared.

Nothing is allocated before it is bounded: a deflated array may be larger than what is packed by a
stated factor only.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from jaxtyping import Shaped

from jaxfid.errors import InputError
from jaxfid.storage.files import open_file, reading
from jaxfid.storage.names import shorten
from jaxfid.storage.npy import NpyHeader, make_array, read_npy_header

MAX_INFLATION = 64
"""A deflated array may be this many times larger than it is packed; features shrink by less than 10."""

FREE_INFLATION_BYTES = 64 << 20
"""Up to this size it may be larger by any factor: an array of zeros shrinks by 1000."""

# What the standard library raises for damaged archives, by position of the damage.
_ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(UnicodeDecodeError, struct.error, ValueError, LookupError, OverflowError),
)


class Npz:
    """An opened `.npz`: arrays by name, each read and checked when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile, path: str) -> None:
        self._archive, self._path = archive, path
        members = archive.infolist()
        # As `np.load` names them.
        self._members = {m.filename.removesuffix(".npy"): m for m in members}
        if len(self._members) != len(members):  # which of the two is meant, tools disagree about
            raise InputError(f"{path}: expected each array once, found a name twice")

    @property
    def names(self) -> list[str]:
        """Names of the arrays, in the order of the file."""
        return list(self._members)

    def header(self, name: str) -> NpyHeader:
        """Returns the header of an array; InputError where it is none."""
        member = self._members[name]
        self._check_member(member)
        with self._faults(name) as label, self._archive.open(member) as file:
            return read_npy_header(file, name=label, num_bytes=member.file_size)

    def read(self, name: str) -> Shaped[np.ndarray, "..."]:
        """Returns an array, read-only; InputError where it is none, or its checksum is wrong."""
        header = self.header(name)
        member = self._members[name]
        with self._faults(name) as label, self._archive.open(member) as file:
            # Read again and not sought: zipfile computes the checksum of what passes by.
            file.read(header.header_bytes)
            data = file.read(header.num_bytes)
            # Reading on to the end is what makes zipfile compare the checksum.
            if file.read(1):
                raise InputError(f"{label}: expected {member.file_size} bytes, found more")
            return make_array(data, header, label)

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        label = f"{self._path}: {shorten(member.filename)}"
        if member.flag_bits & 1 or member.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise InputError(f"{label}: expected a stored or deflated array, found another kind")
        # Deflate packs up to 1032 to 1, so that a header can ask for a thousand times the file.
        allowed = max(FREE_INFLATION_BYTES, MAX_INFLATION * member.compress_size)
        if member.compress_type == zipfile.ZIP_STORED:  # is as large as it is
            allowed = member.compress_size
        if member.file_size > allowed:
            raise InputError(
                f"{label}: expected at most {allowed} bytes from {member.compress_size} packed "
                f"ones, found {member.file_size}"
            )

    @contextmanager
    def _faults(self, name: str) -> Iterator[str]:
        label = f"{self._path}: {name}"
        with _zip_faults(label):
            yield label


@contextmanager
def _zip_faults(label: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _ZIP_FAULTS as error:
        raise InputError(f"{label}: damaged or truncated zip archive: {error}") from error


@contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator[Npz]:
    """Opens an `.npz` file.

    Raises:
      InputError: There is none, or it is no whole zip archive.
    """
    name = os.fspath(path)
    with open_file(path) as file, reading(path):
        with _zip_faults(name):
            archive = zipfile.ZipFile(file)
        with archive:
            yield Npz(archive, name)


def read_npz(
    path: str | os.PathLike[str], names: Collection[str] | None = None
) -> Mapping[str, Shaped[np.ndarray, "..."]]:
    """Returns the arrays of an `.npz` file by name: all of them, or those of `names` there are.

    Raises:
      InputError: There is none, or what is read of it is damaged or too large to be believed.
    """
    with open_npz(path) as file:
        return {name: file.read(name) for name in file.names if names is None or name in names}


def is_npz(start: bytes) -> bool:
    """Whether a file that starts with these four bytes may be an `.npz`."""
    return start[:4] in (b"PK\x03\x04", b"PK\x05\x06")
