"""Images in the arrays of `.npy` and `.npz` files, read one at a time."""

import functools
import io
import math
import threading
import zlib
from collections.abc import Sequence

import numpy as np
from etils import epath
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.arrays import check_image_array, in_three_channels, make_position_keys
from jaxfid.images.interface import ImageSource, sample_content
from jaxfid.images.zips import ZipMember, list_zip
from jaxfid.storage.files import stat_file
from jaxfid.storage.npy import read_npy_header
from jaxfid.storage.npz import read_npz
from jaxfid.storage.paths import is_remote
from jaxfid.storage.random_access import FileReader, InflatingReader, Reader

_HEADER_BYTES = 4096  # an array of images has one of 128; only text in its type makes longer ones
_CHECKED_BYTES = 1 << 18
_IMAGES, _LABELS = "arr_0", "arr_1"


class ArrayFileSource(ImageSource):
    """The images of an array in a `.npy` or `.npz` file, read one at a time.

    Of an `.npz` file this is `arr_0`, as ADM's sampler writes it, else its only array; `arr_1` holds the
    classes where it is one integer for each image. A compressed one is inflated in blocks; reading it in
    order is fast, reading it at random is not. The checksum of a stored one is computed before its first
    image is given, that of a compressed one with its last block.
    """

    def __init__(self, path: epath.Path, *, name: str) -> None:
        """Reads the header; raises InputError if the array is not of images, or not whole."""
        self.name = name
        self._path = path
        self._version = stat_file(path)
        self.is_remote = is_remote(path)
        self._member = _find_member(path) if path.suffix.lower() == ".npz" else None
        self._reader, self._offset, num_bytes = _open_array(path, self._member)
        shape, header_bytes = _read_header(self._reader, self._offset, num_bytes, name)
        self._start, self._num_bytes = self._offset, num_bytes
        self._offset += header_bytes
        self._shape = shape[1:]
        self.keys = make_position_keys(shape[0])
        self._lock = threading.Lock()
        self._is_checked = self._member is None or self._member.deflated

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """The classes in `arr_1`, or None where there are none."""
        if self._member is None or self._member.name != f"{_IMAGES}.npy":
            return None
        classes = read_npz(self._path, (_LABELS,)).get(_LABELS)
        if classes is None or classes.dtype.kind not in "iu" or classes.shape != (len(self.keys),):
            return None
        return [str(label) for label in classes.tolist()]

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position."""
        self._check_content()
        data = self._read_at(index, 0, math.prod(self._shape))
        return in_three_channels(np.frombuffer(data, np.uint8).reshape(self._shape))

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the image's size and a digest of its bytes, or the checksum of the whole array."""
        if self._member is not None:
            return f"{math.prod(self._shape)} {self._member.crc}"
        read_at, version = functools.partial(self._read_at, index), self._version.version
        return sample_content(read_at, math.prod(self._shape), whole=whole, version=version)

    def version(self, index: int) -> str:
        """Returns the modification time and inode of an `.npy` file; of an `.npz` its checksum is enough."""
        return "" if self._member else f"{self._version.mtime_ns} {self._version.inode}"

    def _read_at(self, index: int, offset: int, num_bytes: int) -> bytes:
        start = self._offset + index * math.prod(self._shape)
        return self._reader.read_at(start + offset, num_bytes)

    def _check_content(self) -> None:
        """Compares the checksum of a stored array, once, while no other thread reads."""
        if self._is_checked or self._member is None:
            return
        with self._lock:
            crc = 0
            piece_bytes = max(_CHECKED_BYTES, self._reader.piece_bytes)
            for offset in range(0, 0 if self._is_checked else self._num_bytes, piece_bytes):
                length = min(piece_bytes, self._num_bytes - offset)
                crc = zlib.crc32(self._reader.read_at(self._start + offset, length), crc)
            if not self._is_checked and crc != self._member.crc:
                raise InputError(f"{self.name}: corrupt, its checksum does not fit")
            self._is_checked = True


def _find_member(path: epath.Path) -> ZipMember:
    """The array of images in an `.npz` file."""
    members = {m.name.removesuffix(".npy"): m for m in list_zip(path) if m.name.endswith(".npy")}
    if _IMAGES in members:
        return members[_IMAGES]
    if {"mu", "sigma"} <= members.keys():
        raise InputError(
            f"{path}: expected images, found statistics (mu and sigma); these can be scored "
            "against, but hold no images"
        )
    if len(members) != 1:
        found = ", ".join(members) or "none"
        raise InputError(f"{path}: expected one array, or one named {_IMAGES}, found {found}")
    return next(iter(members.values()))


def _open_array(path: epath.Path, member: ZipMember | None) -> tuple[Reader, int, int]:
    """Returns a reader of the array's bytes, where they begin in it, and how many there are."""
    file = FileReader(path)
    if member is None:
        return file, 0, file.num_bytes
    offset = member.data_offset(file)
    if not member.deflated:
        # The array is read at offsets, and never through the archive's own reader, which would compare these.
        if member.packed_bytes != member.num_bytes:
            raise InputError(f"{path}: corrupt, a stored array of two sizes")
        return file, offset, member.num_bytes
    sizes = {"packed_bytes": member.packed_bytes, "num_bytes": member.num_bytes}
    # Images are read in order by several threads: the reader holds the few blocks between them.
    return InflatingReader(file, offset=offset, crc=member.crc, **sizes), 0, member.num_bytes


def _read_header(
    reader: Reader, offset: int, num_bytes: int, name: str
) -> tuple[tuple[int, ...], int]:
    """Returns an `.npy` header's shape and length, once it is known to be of images."""
    start = io.BytesIO(reader.read_at(offset, min(num_bytes, _HEADER_BYTES)))
    header = read_npy_header(start, name=name, num_bytes=num_bytes)
    check_image_array(header.shape, header.dtype, name)
    if header.fortran_order:
        raise InputError(f"{name}: expected C order, found Fortran; save np.ascontiguousarray(x)")
    return header.shape, header.header_bytes
