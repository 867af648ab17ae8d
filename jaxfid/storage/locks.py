"""One writer per folder or file: two runs that share one would lose one's results."""

import contextlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from etils import epath

from jaxfid.errors import InputError
from jaxfid.storage.files import writing
from jaxfid.storage.paths import RemotePath, as_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt: Any = None

_HOLDER_BYTES = 400
# Windows forbids reading a locked byte; this one lies behind what tells who holds the lock.
_LOCKED_BYTE = 1 << 20
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], what: str, *, wait: bool = False) -> Iterator[None]:
    """Holds a folder or file for one process; the system lets go of it however the process ends.

    A bucket is not locked: nothing there notices that a process died, and a lock that stays would
    stop the next run. Two runs that write to one place in a bucket are not seen.

    Args:
      path: A folder, made where there is nothing; or a file.
      what: What is done there, for the message to whoever comes second: "a comparison".
      wait: Whether to wait for the other process, with a line on stderr, instead of failing.

    Raises:
      InputError: Another process holds it (its id and machine are named), or it cannot be written.
    """
    path = as_path(path)
    if isinstance(path, RemotePath):  # see above: better no lock than one that outlives its holder
        yield
        return
    with writing(path):
        descriptor = os.open(_lock_file(path), os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
    # Closing the descriptor is what unlocks, and the system closes it for a process that is killed.
    try:
        _hold(descriptor, path, what, wait=wait)
        yield
    finally:
        os.close(descriptor)


def _lock_file(path: epath.Path) -> epath.Path:
    """The file that is locked; it stays, because removing it would let two processes in."""
    if path.is_file():
        return path.parent / f".{path.name}.lock"
    path.mkdir(parents=True, exist_ok=True)
    return path / "lock"


def _hold(descriptor: int, path: epath.Path, what: str, *, wait: bool) -> None:
    if not _acquire(descriptor, path, wait=False):
        holder = _read_holder(descriptor)
        if not wait:
            raise InputError(
                f"{path}: in use by {holder}. Wait until it ends, or give this run another place"
            )
        print(f"waiting for {holder} in {path}", file=sys.stderr)
        _acquire(descriptor, path, wait=True)
    with writing(path):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{what} (process {os.getpid()} on {socket.gethostname()})".encode())


def _read_holder(descriptor: int) -> str:
    """What the holder wrote of itself; it may have been written elsewhere, so only plain text counts."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, _HOLDER_BYTES).decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable()) or "another process"


def _acquire(descriptor: int, path: epath.Path, *, wait: bool) -> bool:
    """Takes the lock; False where another process has it."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        elif msvcrt is not None:
            # msvcrt locks bytes from the current position on, even behind the end of the file.
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            _warn(path, "this Python has neither fcntl nor msvcrt")
    except (BlockingIOError, PermissionError):  # of fcntl, and of msvcrt
        return False
    except (
        OSError
    ) as error:  # some network file systems have no locks; they are not a reason to stop
        _warn(path, error.strerror)
    return True


def _warn(path: epath.Path, reason: str | None) -> None:
    warnings.warn(
        f"{path}: cannot be locked ({reason}): let no other run write there", stacklevel=5
    )
