"""An object opened as a file: read by ranges, further ahead the longer it is read in order."""

import io
import os
from collections.abc import Callable

from jaxfid.errors import InputError

FIRST_AHEAD_BYTES, MAX_AHEAD_BYTES = 1 << 18, 1 << 24
"""Read at once after a jump, and at most: a listing jumps, weights are read from end to end."""


class ObjectFile(io.RawIOBase):
    """Reads an object at its position; to be wrapped in a `BufferedReader`, which needs this class.

    A range that breaks off is asked for again by itself, so that a long read goes on where it was.
    """

    def __init__(self, name: str, num_bytes: int, read_range: Callable[[int, int], bytes]) -> None:
        """Takes the object's name for messages, its size, and what reads bytes at an offset of it."""
        self._name, self._num_bytes, self._read_range = name, num_bytes, read_range
        self._position = 0
        self._block, self._block_start = b"", 0
        self._ahead_bytes = FIRST_AHEAD_BYTES

    def readable(self) -> bool:
        """Returns that it can be read."""
        return True

    def seekable(self) -> bool:
        """Returns that it has positions."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position and returns it; nothing is read."""
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._num_bytes}
        position = bases[whence] + offset
        if position < 0:
            raise OSError("expected a position in the object, found one before it")
        self._position = position
        return position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills the buffer as far as the object goes, and returns the number of bytes."""
        wanted = min(len(buffer), self._num_bytes - self._position)
        if wanted <= 0:
            return 0
        if not self._block_start <= self._position < self._block_start + len(self._block):
            self._fetch(wanted)
        start = self._position - self._block_start
        piece = self._block[start : start + wanted]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _fetch(self, wanted: int) -> None:
        # A jump over less than what is read ahead is in order too, as listings of archives make them.
        jump = self._position - (self._block_start + len(self._block))
        in_order = 0 <= jump <= self._ahead_bytes
        ahead = min(2 * self._ahead_bytes, MAX_AHEAD_BYTES) if in_order else FIRST_AHEAD_BYTES
        self._ahead_bytes = ahead
        length = min(max(wanted, ahead), self._num_bytes - self._position)
        block = self._read_range(self._position, length)
        if len(block) < length:
            end = self._position + length
            raise InputError(f"{self._name}: cut off, ends before byte {end}")
        self._block, self._block_start = block, self._position
