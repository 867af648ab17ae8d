"""What an opened file can do, wherever its bytes lie: on a disk, in memory or in a bucket."""

import typing
from types import TracebackType


@typing.runtime_checkable
class ByteReader(typing.Protocol):
    """A file opened to read bytes. `typing.BinaryIO` asks for more than a `BytesIO` has."""

    def read(self, size: int = -1, /) -> bytes:
        """Returns at most `size` bytes, and all that are left where `size` is negative."""
        ...

    def readline(self, size: int = -1, /) -> bytes:
        """Returns the bytes up to the next line's start, at most `size` of them."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Moves to a position, counted from the start, from here (1) or from the end (2)."""
        ...

    def tell(self) -> int:
        """Returns the position."""
        ...

    def fileno(self) -> int:
        """Returns the descriptor of a local file; OSError where there is none."""
        ...

    def close(self) -> object:
        """Closes the file."""
        ...

    def __enter__(self) -> "ByteReader": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> object: ...
