"""Images in the arrays of `.npy` and `.npz` files, read one at a time."""

import io
import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.archives import ZipMember, list_zip
from jaxfid.images.arrays import check_image_array, in_three_channels, make_position_keys
from jaxfid.images.interface import ImageSource
from jaxfid.storage.random_access import FileReader, InflatingReader, Reader

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_HEADER_BYTES = 4096


class ArrayFileSource(ImageSource):
    """The images of an array in a `.npy` or `.npz` file, read one at a time.

    Of an `.npz` file this is `arr_0`, as ADM's sampler writes it, else its only array. A compressed
    one is inflated in blocks; reading it in order is fast, reading it at random is not.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        """Reads the header; raises InputError if it is no array of images, or not whole."""
        self.name = name
        if path.suffix.lower() == ".npz":
            self._reader, self._offset, num_bytes, self._crc = _open_member(path)
        else:
            self._reader = FileReader(path)
            self._offset, num_bytes, self._crc = 0, self._reader.num_bytes, 0
        shape, header_bytes = _read_header(self._reader, self._offset, num_bytes, name)
        self._offset += header_bytes
        self._shape = shape[1:]
        self.keys = make_position_keys(shape[0])
        if header_bytes + math.prod(shape) != num_bytes:
            raise InputError(
                f"{name}: expected {math.prod(shape)} bytes of shape {shape}, found "
                f"{num_bytes - header_bytes}: cut off or corrupt"
            )

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position."""
        num_bytes = math.prod(self._shape)
        data = self._reader.read_at(self._offset + index * num_bytes, num_bytes)
        return in_three_channels(np.frombuffer(data, np.uint8).reshape(self._shape))

    def stamp(self, index: int) -> str:
        """Returns the image's size in bytes and the checksum of the whole array, if it has one."""
        return f"{math.prod(self._shape)} {self._crc}"


def _open_member(path: Path) -> tuple[Reader, int, int, int]:
    """Returns reader, offset, size and checksum of the array of images in an `.npz` file."""
    members = {m.name.removesuffix(".npy"): m for m in list_zip(path) if m.name.endswith(".npy")}
    member = members[_choose_array(members, path)]
    file = FileReader(path)
    offset = member.data_offset(file)
    if not member.deflated:
        return file, offset, member.num_bytes, member.crc
    sizes = {"packed_bytes": member.packed_bytes, "num_bytes": member.num_bytes}
    inflating = InflatingReader(file, offset=offset, crc=member.crc, **sizes)
    return inflating, 0, member.num_bytes, member.crc


def _choose_array(members: dict[str, ZipMember], path: Path) -> str:
    if "arr_0" in members:
        return "arr_0"
    if {"mu", "sigma"} <= members.keys():
        raise InputError(
            f"{path}: expected images, found statistics (mu and sigma); these can be scored "
            "against, but hold no images"
        )
    if len(members) != 1:
        found = ", ".join(members) or "none"
        raise InputError(f"{path}: expected one array, or one named arr_0, found {found}")
    return next(iter(members))


def _read_header(
    reader: Reader, offset: int, num_bytes: int, name: str
) -> tuple[tuple[int, ...], int]:
    """Returns an `.npy` header's shape and length, once it is known to be of images."""
    start = io.BytesIO(reader.read_at(offset, min(num_bytes, _HEADER_BYTES)))
    try:
        version = np.lib.format.read_magic(start)
        if version not in _HEADER_READERS:
            raise ValueError(f"format version {version}, which arrays of numbers do not need")
        shape, fortran_order, dtype = _HEADER_READERS[version](start)
    except ValueError as error:
        raise InputError(f"{name}: expected a NumPy array file, found: {error}") from error
    check_image_array(shape, dtype, name)
    if fortran_order:
        raise InputError(f"{name}: expected C order, found Fortran; save np.ascontiguousarray(x)")
    return shape, start.tell()
