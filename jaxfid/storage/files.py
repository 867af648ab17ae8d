"""The one writer and the one way to open a file, local or in a bucket."""

import concurrent.futures
import contextlib
import datetime
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from etils import epath

from jaxfid.errors import InputError, JaxfidError
from jaxfid.storage.paths import MAX_PIECE_BYTES, RemotePath, as_path, is_remote
from jaxfid.storage.retries import MAX_CONNECTIONS
from jaxfid.storage.streams import ByteReader

Content = bytes | str | Callable[[io.BufferedIOBase], object]
"""What is written: bytes, text as UTF-8, or a function that writes to the file it is given."""

_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # without it a FIFO blocks until someone writes to it
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class FileStat(NamedTuple):
    """What a file system says of a file without reading it.

    Attributes:
      num_bytes: Its size.
      mtime_ns: When its content was last changed; None where the place does not say.
      inode: Its number on this machine's file system; None for an object.
      version: What a bucket calls this content of the object, such as its ETag; None for a local file.
    """

    num_bytes: int
    mtime_ns: int | None
    inode: int | None
    version: str | None = None


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what fails while a file is read into an error that names it."""
    with _naming(path, "cannot be read"):
        yield


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what fails while a file is written into an error that names it."""
    with _naming(path, "cannot be written"):
        yield


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str], fault: str) -> Iterator[None]:
    try:
        yield
    except JaxfidError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{os.fspath(path)!s}: {fault}: {reason}") from error
    except Exception as error:
        # Each library that serves a place has errors of its own, and not all are known.
        if not is_remote(path):
            raise
        raise InputError(f"{os.fspath(path)!s}: {fault}: {error!r}") from error


def open_file(path: str | os.PathLike[str], *, buffering: int = -1) -> ByteReader:
    """Returns a file opened to read bytes.

    Args:
      path: A regular file, or an object. A device or FIFO is refused before it is opened.
      buffering: As of the builtin `open`; an object is always buffered.

    Raises:
      InputError: There is none, it is something else, or it may not be read.
    """
    with reading(path):
        if is_remote(path):
            return RemotePath(path).open("rb")
        _check_regular(path, os.stat(path))  # noqa: PTH116
        return open(path, "rb", buffering=buffering, opener=_open_regular)


def _open_regular(path: str, flags: int) -> int:
    """Opens without waiting and looks again: the file may have been replaced since it was seen."""
    descriptor = os.open(path, flags | _NO_WAIT, 0o666)
    try:
        _check_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: str | os.PathLike[str], found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, pipe or socket"
        raise InputError(f"{os.fspath(path)}: expected a file, found {kind}")


def stat_file(path: str | os.PathLike[str]) -> FileStat:
    """Returns size and, where there are such, modification time and inode of a regular file.

    Raises:
      InputError: There is none, or it is something else.
    """
    with reading(path):
        if is_remote(path):
            return _object_stat(RemotePath(path).info())
        found = os.stat(path)  # noqa: PTH116
        _check_regular(path, found)
        return FileStat(found.st_size, found.st_mtime_ns, found.st_ino)


def list_objects(folder: RemotePath) -> dict[str, FileStat]:
    """Returns every object below a folder by its name relative to it, from one listing.

    Raises:
      InputError: The folder cannot be listed.
    """
    with reading(folder):
        return {name: _object_stat(info) for name, info in folder.find().items()}


def stat_objects(paths: Iterable[epath.Path]) -> dict[epath.Path, FileStat]:
    """Returns what is known of those of some paths that are objects, which are asked for at once.

    Raises:
      InputError: One is not there, or no object.
    """
    objects = [path for path in paths if isinstance(path, RemotePath)]
    with concurrent.futures.ThreadPoolExecutor(MAX_CONNECTIONS, "jaxfid-stat") as pool:
        return dict(zip(objects, pool.map(stat_file, objects), strict=True))


def _object_stat(info: Mapping[str, object]) -> FileStat:
    """Size, time and version; each place has names of its own for the last two."""
    versions = (info.get(name) for name in ("generation", "ETag", "etag"))
    version = next((v for v in versions if isinstance(v, str) and v), None)
    times = (info.get(name) for name in ("mtime", "LastModified", "last_modified", "created"))
    times = (t.timestamp() if isinstance(t, datetime.datetime) else t for t in times)
    time = next((t for t in times if isinstance(t, int | float)), None)
    num_bytes = info.get("size")
    if info.get("type") == "directory" or not isinstance(num_bytes, int):
        raise InputError(f"{info.get('name')}: expected a file, found a folder or a stream")
    mtime_ns = None if time is None else int(time * 1e6) * 1000
    if version is None and mtime_ns is not None:  # the next best, where a place has no versions
        version = f"of {mtime_ns} ns"
    return FileStat(num_bytes, mtime_ns, None, version)


def read_file(
    path: str | os.PathLike[str], *, max_bytes: int, listed: FileStat | None = None
) -> bytes:
    """Returns a file's bytes.

    Args:
      path: The file.
      max_bytes: How large a file of its kind may be.
      listed: What a listing said of an object, which is then read by one request.

    Raises:
      InputError: The file is larger than `max_bytes`, or cannot be read.
    """
    if is_remote(path):
        return _read_object(RemotePath(path), max_bytes, listed)
    with open_file(path, buffering=0) as file, reading(path):
        num_bytes = file.seek(0, os.SEEK_END)  # found before anything is allocated
        file.seek(0)
        data = file.read() if num_bytes <= max_bytes else b""
    if max(num_bytes, len(data)) > max_bytes:  # the second where it grew meanwhile
        raise _too_large(path, max_bytes, max(num_bytes, len(data)))
    return data


def _read_object(path: RemotePath, max_bytes: int, listed: FileStat | None) -> bytes:
    num_bytes = (listed or stat_file(path)).num_bytes
    if num_bytes > max_bytes:
        raise _too_large(path, max_bytes, num_bytes)
    with reading(path):
        # One byte more tells an object that is longer by now; but no range may begin behind the end.
        more = 0 < num_bytes < MAX_PIECE_BYTES
        data = path.read_range(0, num_bytes + more)
    if len(data) != num_bytes:
        raise InputError(
            f"{path}: expected {num_bytes} bytes as it was listed, found another length; it was "
            "replaced meanwhile, start again"
        )
    return data


def _too_large(path: str | os.PathLike[str], max_bytes: int, found: int) -> InputError:
    return InputError(
        f"{os.fspath(path)}: expected at most {max_bytes} bytes in a file of this kind, found {found}"
    )


def write_file(path: str | os.PathLike[str], content: Content) -> None:
    """Writes a file whole or not at all, even if the process or the machine dies.

    A local file is written under a name that nobody can guess, in the same folder, brought to the
    disk and renamed; a link in its place is replaced, never followed. An object is put in one piece,
    for which its content is held in memory. Folders are made where they are missing.

    Args:
      path: Where it goes; what lies there is replaced.
      content: Bytes, text, or a function that writes to the file it is given.

    Raises:
      InputError: It cannot be written there.
    """
    path = as_path(path)
    with writing(path):
        if isinstance(path, RemotePath):
            _put(path, content)
        else:
            _replace(path, content)


def append_file(path: str | os.PathLike[str]) -> io.BufferedWriter:
    """Returns a local file opened to write at its end; made where there is none.

    Raises:
      InputError: It is a link or no regular file, or may not be written.
    """
    with writing(path):
        return open(path, "ab", opener=_open_own)


def _open_own(path: str, flags: int) -> int:
    return _open_regular(path, flags | _NO_LINK)


def move_file(path: str | os.PathLike[str], destination: str | os.PathLike[str]) -> None:
    """Brings a local file to the disk and gives it its final name, in the same file system.

    Raises:
      InputError: It cannot be moved there.
    """
    with writing(destination):
        with open(path, "rb+", opener=_open_own) as file:
            os.fsync(file.fileno())
        os.replace(path, destination)  # noqa: PTH105
        _sync_folder(as_path(destination).parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Passes when a file can be written at a path; makes its folder, and leaves the file as it is.

    Raises:
      InputError: It cannot be written there.
    """
    path = as_path(path)
    probe = path.parent / _temporary_name()
    with writing(path):
        if not isinstance(path, RemotePath):
            _check_replaceable(path)
        write_file(probe, b"")
        probe.unlink()


def _temporary_name() -> str:
    """A short name, so that one of the longest allowed still has a temporary file."""
    return f".jaxfid-{secrets.token_hex(8)}.tmp"


def _replace(path: epath.Path, content: Content) -> None:
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / _temporary_name()
    try:
        with open(temporary, "wb", opener=_create) as file:
            _write(file, content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _create(path: str, _flags: int) -> int:
    # Exclusive: nobody's file is opened, whatever lies there. 0o666 less the user's umask.
    return os.open(path, _NEW | _NO_LINK, 0o666)


def _check_replaceable(path: epath.Path) -> None:
    # Renaming over /dev/null would replace the device for everyone.
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device, pipe or socket"
        raise InputError(f"{path}: expected a place for a file, found {kind}")


def _sync_folder(folder: epath.Path) -> None:
    """Brings the new name to the disk as well, where folders can be opened."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # some network file systems refuse it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put(path: RemotePath, content: Content) -> None:
    buffer = io.BytesIO()
    _write(buffer, content)
    path.put(buffer.getvalue())


def _write(file: io.BufferedIOBase, content: Content) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)
