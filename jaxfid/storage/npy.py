"""The one reader of `.npy` headers, and of arrays in `.npy` files.

Nothing is allocated before it is known to be there: an array is as large as the bytes behind its
header.
"""

import ast
import math
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from jaxfid.errors import InputError
from jaxfid.storage.files import open_file, reading
from jaxfid.storage.names import shorten
from jaxfid.storage.streams import ByteReader

_MAGIC = b"\x93NUMPY"
_LENGTH_FORMATS = {b"\x01\x00": "<H", b"\x02\x00": "<I"}
_MAX_HEADER_BYTES = 10_000  # as NumPy; the literal is parsed, which costs far more than its size
_MAX_DIMENSIONS = 32
_MAX_ARRAY_BYTES = 1 << 48  # of what no file holds; NumPy's own sums stay below their overflow
_PYTHON_2_LONG = re.compile(rb"(?<=\d)L(?=\s*[,)])")
_PLAIN_DTYPE = re.compile(r"[<>|=]?[biufcSU][0-9]{1,9}")


@runtime_checkable
class SupportsRead(Protocol):
    """Anything that gives its next bytes."""

    def read(self, size: int, /) -> bytes:
        """Returns at most `size` bytes."""
        ...


class NpyHeader(NamedTuple):
    """What stands before the numbers of an array.

    Attributes:
      shape: Its shape.
      dtype: Its type: numbers, truth values or text.
      fortran_order: Whether the first axis varies fastest.
      header_bytes: Where the numbers start.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    header_bytes: int

    @property
    def num_bytes(self) -> int:
        """Size of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(stream: SupportsRead, *, name: str, num_bytes: int) -> NpyHeader:
    """Returns the header of an array that starts where the stream stands.

    Args:
      stream: Anything with `read`; the header is read, and no byte more.
      name: What messages call the array: its file, or its file and member.
      num_bytes: Bytes that there are from the start of the header to the end of the array.

    Raises:
      InputError: It is no `.npy`, its header is no description of an array of numbers or text, or
        the array it describes is of another size than `num_bytes` leaves.
    """
    fields, header_bytes = _read_fields(stream, name)
    dtype = _make_dtype(fields["descr"], name)
    header = NpyHeader(fields["shape"], dtype, fields["fortran_order"], header_bytes)
    _check_size(header, name, num_bytes)
    return header


def _read_fields(stream: SupportsRead, name: str) -> tuple[dict[str, Any], int]:
    """The three fields of a header, shape and order checked, and its length."""
    prefix = stream.read(8)
    length_format = _LENGTH_FORMATS.get(prefix[6:])
    if prefix[:6] != _MAGIC or length_format is None:
        raise InputError(
            f"{name}: expected a NumPy array of format version 1 or 2, found {shorten(prefix)}"
        )
    length_bytes = stream.read(struct.calcsize(length_format))
    if len(length_bytes) < struct.calcsize(length_format):
        raise InputError(f"{name}: expected a NumPy array, found only the start of a header")
    (length,) = struct.unpack(length_format, length_bytes)
    if length > _MAX_HEADER_BYTES:  # before as many bytes are read
        raise InputError(
            f"{name}: expected a header of at most {_MAX_HEADER_BYTES} bytes, found {length}"
        )
    return _parse(stream.read(length), name), len(prefix) + len(length_bytes) + length


def _parse(text: bytes, name: str) -> dict[str, Any]:
    """The Python literal that a header is."""
    try:
        # The parser raises whatever nesting and odd tokens lead to, RecursionError and MemoryError
        # among them; it builds literals only and calls nothing.
        fields = ast.literal_eval(_PYTHON_2_LONG.sub(b"", text).decode("latin-1"))
    except Exception as error:
        raise InputError(f"{name}: expected a header of NumPy's, found {shorten(text)}") from error
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise InputError(f"{name}: expected a header of NumPy's, found {shorten(text)}")
    if not _is_shape(fields["shape"]) or type(fields["fortran_order"]) is not bool:
        raise InputError(f"{name}: expected a shape in the header, found {shorten(text)}")
    return fields


def _is_shape(shape: object) -> bool:
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        return False
    # `type`, not `isinstance`: True is an int, and no side.
    return all(type(side) is int and 0 <= side < _MAX_ARRAY_BYTES for side in shape)


def _make_dtype(descr: object, name: str) -> np.dtype:
    try:
        # NumPy parses whatever else a description may be (fields, repeats) by Python's own parser.
        dtype = None
        if isinstance(descr, str) and _PLAIN_DTYPE.fullmatch(descr):
            dtype = np.dtype(descr)
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or not dtype.itemsize:
        raise InputError(
            f"{name}: expected a plain array of numbers, found one of type {shorten(descr)}"
        )
    return dtype


def _check_size(header: NpyHeader, name: str, num_bytes: int) -> None:
    extent = math.prod(max(side, 1) for side in header.shape) * header.dtype.itemsize
    # Dimensions beside one of size 0 cost nothing and still overflow NumPy's sums.
    if extent >= _MAX_ARRAY_BYTES or header.header_bytes + header.num_bytes != num_bytes:
        raise InputError(
            f"{name}: expected {header.num_bytes} bytes of shape {header.shape} and type "
            f"{header.dtype}, found {num_bytes - header.header_bytes}: cut off or corrupt"
        )


@contextmanager
def open_npy(path: str | os.PathLike[str]) -> Iterator[tuple[ByteReader, NpyHeader | None]]:
    """Opens an `.npy` file where its content starts.

    The header is None where the array holds Python objects: what follows is a pickle then.

    Raises:
      InputError: There is none, or it is damaged.
    """
    name = os.fspath(path)
    with open_file(path) as file, reading(path):
        num_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        fields, _ = _read_fields(file, name)
        if fields["descr"] in ("|O", "O"):  # what `np.save` writes of a dict
            yield file, None
            return
        file.seek(0)
        yield file, read_npy_header(file, name=name, num_bytes=num_bytes)


def read_npy(path: str | os.PathLike[str]) -> Shaped[np.ndarray, "..."]:
    """Returns the array of an `.npy` file, read-only.

    Raises:
      InputError: There is none, or it is damaged; an array of Python objects is never read.
    """
    with open_npy(path) as (file, header):
        if header is None:
            raise InputError(
                f"{os.fspath(path)}: expected a plain array of numbers, found one of Python objects"
            )
        return make_array(file.read(header.num_bytes), header, os.fspath(path))


def make_array(data: bytes, header: NpyHeader, name: str) -> Shaped[np.ndarray, "..."]:
    """Returns the array of a header and its numbers, read-only; InputError where some are missing."""
    if len(data) != header.num_bytes:  # it was cut while it was read
        raise InputError(f"{name}: expected {header.num_bytes} bytes of numbers, found {len(data)}")
    array = np.frombuffer(data, header.dtype) if data else np.empty(0, header.dtype)
    return array.reshape(header.shape, order="F" if header.fortran_order else "C")


def is_npy(start: bytes) -> bool:
    """Whether a file that starts with these six bytes is an `.npy`."""
    return start[:6] == _MAGIC
