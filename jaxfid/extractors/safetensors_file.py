"""Reads the tensors of a safetensors file out of its bytes, which are held once.

The library's readers map the file, which kills the process when another one cuts it, or copy every
tensor. Format: eight bytes of length, a JSON object of `{name: {dtype, shape, data_offsets}}`, then
the numbers without a gap (https://github.com/huggingface/safetensors). Its metadata is not believed
and not read.
"""

import json
import math
from typing import Any

import numpy as np

from jaxfid.errors import InputError
from jaxfid.storage.names import shorten

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # as the library
_MAX_DIMENSIONS = 32
_MAX_EXTENT_BYTES = 1 << 48
_METADATA = "__metadata__"
_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"},
}


def is_safetensors(data: bytes) -> bool:
    """Whether a file that starts with these bytes is one: its header is a JSON object."""
    return data[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"


def parse_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Returns the tensors by name, read-only views of the bytes.

    Raises:
      InputError: The header is damaged, a tensor's type is none of NumPy's (BF16, F8, F4), or the
        tensors do not fill the file. The message lacks the file's name.
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if length > _MAX_HEADER_BYTES or start > len(data):
        raise InputError(
            f"no intact safetensors file: its header of {length} bytes ends beyond the "
            f"file's {len(data)} bytes"
        )
    header = _parse_header(data[_LENGTH_BYTES:start])
    entries = [_parse_entry(name, entry) for name, entry in header.items() if name != _METADATA]
    _check_gapless(entries, len(data) - start)
    return {name: _view(data, start + begin, dtype, shape) for name, dtype, shape, begin in entries}


_Entry = tuple[str, np.dtype, tuple[int, ...], int]


def _parse_header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_refuse_repeated)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no intact safetensors file: its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise InputError("no intact safetensors file: its header is no JSON object")
    return header


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):  # `json` would silently keep the last
        raise ValueError("a name twice")
    return dict(pairs)


def _parse_entry(name: str, entry: object) -> _Entry:
    """Name, type, shape and first byte, once the entry agrees with itself."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise InputError(f"no intact safetensors file: no description of {shorten(name)}")
    # BF16, F8 and F4 could be read with another library; no network here is published in them.
    if dtype not in _DTYPES:
        raise InputError(
            f"{name:.80}: expected a type of {', '.join(_DTYPES)}, found {shorten(dtype)}; convert "
            "the tensors to float32"
        )
    if len(shape) > _MAX_DIMENSIONS or not all(type(side) is int and side >= 0 for side in shape):
        raise InputError(
            f"{name:.80}: expected at most {_MAX_DIMENSIONS} sides from 0 up, found another shape"
        )
    numpy_dtype = np.dtype(_DTYPES[dtype])
    extent = math.prod(max(side, 1) for side in shape) * numpy_dtype.itemsize
    if extent >= _MAX_EXTENT_BYTES or end - begin != math.prod(shape) * numpy_dtype.itemsize:
        raise InputError(f"{name:.80}: its size does not fit its shape and type")
    return name, numpy_dtype, tuple(shape), begin


def _check_gapless(entries: list[_Entry], num_bytes: int) -> None:
    """The format has neither gaps, where something may hide, nor tensors that overlap."""
    position = 0
    for _, dtype, shape, begin in sorted(entries, key=lambda entry: entry[3]):
        # An empty tensor begins where its neighbour does.
        if begin != position:
            raise InputError("no intact safetensors file: its tensors overlap or leave a gap")
        position += math.prod(shape) * dtype.itemsize
    if position != num_bytes:
        raise InputError(
            f"no intact safetensors file: expected {position} bytes of numbers, found {num_bytes}"
        )


def _view(data: bytes, start: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    if not count:  # NumPy refuses a view of nothing at the very end
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype, count, start).reshape(shape)
