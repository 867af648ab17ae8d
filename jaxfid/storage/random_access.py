"""Bytes at any offset of a large file, plain or deflated, from any thread."""

import functools
import os
import threading
import typing
import weakref
import zlib

from jaxfid.errors import InputError
from jaxfid.storage.files import open_file, reading, stat_file
from jaxfid.storage.paths import RemotePath, as_path
from jaxfid.storage.streams import ByteReader

_BLOCK_BYTES = 1 << 24
_KEPT_BLOCKS = 3
_INPUT_BYTES, _REMOTE_INPUT_BYTES = 1 << 16, 1 << 22


@typing.runtime_checkable
class Reader(typing.Protocol):
    """Gives bytes by offset.

    Attributes:
      piece_bytes: How much to read at a time from end to end.
    """

    piece_bytes: int

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Returns exactly these bytes, or raises InputError."""
        ...


class FileReader:
    """Reads a file or an object at any offset; it is closed when nothing refers to the reader.

    Read, not memory-mapped: pages of a map count as this process's memory, and a file that
    shrinks underneath a map kills the process, where here it is an error. An object is read by
    ranges, several at once where several threads ask.

    Attributes:
      path: The file.
      num_bytes: Its size.
      version: What a bucket calls this content of the object; None for a local file.
      piece_bytes: How much to read at a time from end to end: each piece of an object is a request.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path)
        self.version, self.piece_bytes = None, _INPUT_BYTES
        if isinstance(self.path, RemotePath):
            found = stat_file(self.path)
            self.num_bytes, self.version = found.num_bytes, found.version
            self.piece_bytes = _REMOTE_INPUT_BYTES
            self._read = self.path.read_range
            return
        self._file = open_file(self.path, buffering=0)
        weakref.finalize(self, self._file.close)
        self.num_bytes = os.fstat(self._file.fileno()).st_size
        self._read = functools.partial(_read_local, self._file, threading.Lock())

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Returns exactly these bytes.

        Raises:
          InputError: The file ends before, or cannot be read.
        """
        data = b""
        if offset + num_bytes <= self.num_bytes:  # else `pread` allocates whatever is asked for
            with reading(self.path):
                data = self._read(offset, num_bytes)
        if len(data) < num_bytes:
            raise InputError(f"{self.path}: cut off, ends before byte {offset + num_bytes}")
        return data


def _read_local(file: ByteReader, lock: threading.Lock, offset: int, num_bytes: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), num_bytes, offset)
    with lock:
        file.seek(offset)
        return file.read(num_bytes)


class _State(typing.NamedTuple):
    """Where inflating stands at the start of a block."""

    inflater: "zlib._Decompress"
    position: int  # of the next input byte in the file
    crc: int  # of all output so far


class InflatingReader:
    """Reads a deflated stream at any offset, holding a few blocks of it.

    Reading in order inflates everything once. The state at the start of every block is kept (below
    1 % of the output), so that going back costs at most one block.
    """

    piece_bytes = _BLOCK_BYTES

    def __init__(
        self, file: FileReader, *, offset: int, packed_bytes: int, num_bytes: int, crc: int
    ) -> None:
        self._file = file
        self._end = offset + packed_bytes
        self._num_bytes = num_bytes
        self._crc = crc
        self._states = [_State(zlib.decompressobj(-zlib.MAX_WBITS), offset, 0)]
        self._blocks: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Returns exactly these bytes of the output.

        Raises:
          InputError: The stream is corrupt or cut off.
        """
        last = (offset + num_bytes - 1) // _BLOCK_BYTES
        with self._lock:
            parts = []
            for number in range(offset // _BLOCK_BYTES, last + 1):
                start = offset - number * _BLOCK_BYTES
                parts.append(self._block(number)[max(start, 0) : start + num_bytes])
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            for reached in range(len(self._states), number + 1):
                self._inflate(reached - 1)
            self._blocks[number] = self._inflate(number)
            if len(self._blocks) > _KEPT_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
        return self._blocks[number]

    def _inflate(self, number: int) -> bytes:
        """Inflates one block whose state is known, and keeps the state after it."""
        inflater, position, crc = self._states[number]
        # A copy, because the state at the block's start is needed again when the block is read again.
        inflater = inflater.copy()
        missing = min(_BLOCK_BYTES, self._num_bytes - number * _BLOCK_BYTES)
        parts = []
        while missing:
            packed = self._file.read_at(position, min(self._file.piece_bytes, self._end - position))
            try:
                part = inflater.decompress(packed, missing)
            except zlib.error as error:
                raise InputError(f"{self._file.path}: corrupt: {error}") from error
            if not part and not packed:
                raise InputError(f"{self._file.path}: corrupt, its deflated data end early")
            position += len(packed) - len(inflater.unconsumed_tail)
            missing -= len(part)
            parts.append(part)
        block = b"".join(parts)
        self._keep_state(number + 1, _State(inflater, position, zlib.crc32(block, crc)))
        return block

    def _keep_state(self, number: int, state: _State) -> None:
        if number * _BLOCK_BYTES >= self._num_bytes and state.crc != self._crc:
            raise InputError(f"{self._file.path}: corrupt, its checksum does not fit")
        if number == len(self._states):
            self._states.append(state)
