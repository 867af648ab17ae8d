"""Paths to local files and to objects in buckets; to add a place, this room is enough.

A local path stays a `pathlib.Path`. Everything with a `scheme://` goes through fsspec, which has an
implementation for each place (`gs`, `s3`, `az`, `hf`, `sftp`, ...) in a package of its own.
"""

import concurrent.futures
import contextlib
import errno
import functools
import glob
import io
import logging
import os
import pathlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec
from etils import epath
from fsspec.config import conf

from jaxfid.errors import InputError
from jaxfid.storage.faults import family, is_bucket
from jaxfid.storage.object_file import ObjectFile
from jaxfid.storage.retries import MAX_CONNECTIONS, ask

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*)://")
_DIGEST = "#sha256="
_LOCAL_SCHEMES = ("file", "local")
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}

_ANSWER_S = 60.0
"""How long one answer may take: not every library gives up by itself on a server that says nothing."""

_SLOW_BYTES_PER_S = 1 << 18
MAX_PIECE_BYTES = 1 << 24
"""More is read in pieces, a few at once; where a connection breaks, only one of them is lost."""

_PIECES_AT_ONCE = 4

for _name in _PACKAGES.values():
    # They log each try with its traceback. What is left in the end is raised, and said in a sentence.
    logging.getLogger(_name).addHandler(logging.NullHandler())


# `epath.Path` names the interface that both kinds share. etils' own local class is not used: it
# takes a mounted /s3/x for s3://x, hides files that end in ~, and cannot stat a file of a user
# without a name, as containers have them.
class LocalPath(type(pathlib.Path()), epath.Path):
    """A path of this machine: `pathlib.Path` unchanged."""


class RemotePath(epath.Path):
    """An object of a bucket, or of another place that fsspec knows, with `pathlib`'s interface.

    The path is kept as `/scheme/bucket/key`, because `pathlib` makes one slash of two. Keys with an
    empty part or with `.` as a part can therefore not be named.
    """

    # `pathlib` was rewritten in Python 3.12: only there does it call `__init__` with the parts.
    if not hasattr(pathlib.PurePath, "with_segments"):

        def __new__(cls, *parts: str | os.PathLike[str]) -> "RemotePath":
            """Makes a path as `pathlib` does before Python 3.12."""
            return super().__new__(cls, *_as_posix(parts))

    else:

        def __init__(self, *parts: str | os.PathLike[str]) -> None:
            super().__init__(*_as_posix(parts))

    def __str__(self) -> str:
        _, scheme, *keys = (*self.parts, "")
        return f"{scheme}://{'/'.join(keys[:-1])}"

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    @property
    def scheme(self) -> str:
        """What stands before `://`."""
        return self.parts[1]

    def _place(self) -> tuple[Any, str]:
        """The file system, which fsspec keeps one of per place, and this path in its words."""
        return fsspec.url_to_fs(str(self), **_options_of(self.scheme))

    def _ask(
        self,
        method: str,
        *args: object,
        fresh: bool = False,
        answer_s: float | None = _ANSWER_S,
        **options: object,
    ) -> Any:  # noqa: ANN401
        """Calls a method of the file system with this path, and again where a connection breaks.

        Args:
          method: Its name.
          *args: What comes behind the path.
          fresh: Whether nothing may be remembered: another process may have written there since.
          answer_s: Seconds for one answer; None where nobody can say.
          **options: For the method.
        """

        def request() -> Any:  # noqa: ANN401
            system, path = self._place()
            if fresh:
                # A listing is remembered under the folder that was listed.
                system.invalidate_cache(system._parent(path))
                system.invalidate_cache(path)
            limit = {"timeout": answer_s} if system.async_impl else {}
            return getattr(system, method)(path, *args, **limit, **options)

        return ask(request, str(self))

    def _find(self, method: str, *args: object, **options: Any) -> Any:  # noqa: ANN401
        """The same, of what is expected to be there."""
        try:
            return self._ask(method, *args, **options)
        except FileNotFoundError as error:
            absent = self.describe_absence()
            raise FileNotFoundError(errno.ENOENT, absent, str(self)) from error

    def describe_absence(self) -> str:
        """Returns what a message says where nothing is found: no bucket, or no object in it."""
        bucket = RemotePath(f"{self.scheme}://{self.parts[2]}") if len(self.parts) > 2 else self
        # Some who may read objects may not look at the bucket: it is there.
        with contextlib.suppress(PermissionError):
            if is_bucket(self.scheme) and bucket._kind() is None:
                return f"no bucket {bucket}"
        return "nothing there"

    def _kind(self) -> str | None:
        """What lies there: a "file" or a "directory"; None for nothing."""
        # One request. fsspec's own `exists` takes a refusal for an absence.
        try:
            return self._ask("info", fresh=True)["type"]
        except FileNotFoundError:
            return None

    def exists(self) -> bool:
        """Whether there is an object, or a folder of objects."""
        return self._kind() is not None

    def is_dir(self) -> bool:
        """Whether objects lie below this path."""
        return self._kind() == "directory"

    def is_file(self) -> bool:
        """Whether this is an object."""
        return self._kind() == "file"

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yields what lies directly below this path."""
        own = self._place()[1].strip("/")
        for name in self._find("ls", fresh=True, answer_s=None, detail=False):
            if name.strip("/") != own:  # a folder made by hand lists itself
                yield self / posixpath.basename(name.rstrip("/"))

    def expanduser(self) -> "RemotePath":
        """Returns the path itself: a bucket has no home folder."""
        return self

    def mkdir(self, mode: int | None = None, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: a folder of a bucket is there once an object is in it."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the object."""
        try:
            self._ask("rm_file")
        except FileNotFoundError:
            if not missing_ok:
                raise

    def open(self, mode: str = "r", **options: Any) -> Any:  # noqa: ANN401
        """Opens the object; fsspec's files share no class. `files` opens and writes it safely."""
        if mode not in ("r", "rb"):
            system, path = self._place()
            return system.open(path, mode, **options)
        size = self.info().get("size")
        if not isinstance(size, int):
            raise InputError(f"{self}: expected a file, found a folder or a stream")
        file = io.BufferedReader(ObjectFile(str(self), size, self.read_range))
        return file if mode == "rb" else io.TextIOWrapper(file, **options)

    def read_range(self, offset: int, num_bytes: int) -> bytes:
        """Returns these bytes of the object, fewer where it ends before; any thread may ask."""
        end = offset + num_bytes
        if num_bytes <= MAX_PIECE_BYTES:
            return self._read_piece(offset, end) if num_bytes else b""
        starts = range(offset, end, MAX_PIECE_BYTES)
        ends = [min(start + MAX_PIECE_BYTES, end) for start in starts]
        with concurrent.futures.ThreadPoolExecutor(_PIECES_AT_ONCE, "jaxfid-read") as pool:
            return b"".join(pool.map(self._read_piece, starts, ends))

    def _read_piece(self, start: int, end: int) -> bytes:
        piece = self._find("cat_file", start=start, end=end)
        if len(piece) > end - start:
            raise InputError(f"{self}: expected a place that serves ranges, found one without")
        return piece

    def put(self, data: bytes) -> None:
        """Puts the object in one piece, in place of what was there."""
        answer_s = _ANSWER_S + len(data) / _SLOW_BYTES_PER_S
        try:
            self._ask("pipe_file", data, answer_s=answer_s)
        except FileNotFoundError:
            if is_bucket(self.scheme):  # no bucket is made for a name that was mistyped
                raise FileNotFoundError(errno.ENOENT, self.describe_absence(), str(self)) from None
            system, path = self._place()
            system.makedirs(system._parent(path), exist_ok=True)
            self._ask("pipe_file", data, answer_s=answer_s)

    def info(self) -> dict[str, Any]:
        """Returns what the place says of the object; `size` is everywhere."""
        return self._find("info", fresh=True)

    def list_matches(self) -> list["RemotePath"]:
        """Returns what lies where this path, as a pattern, says; in order."""
        found = sorted(name.strip("/") for name in self._ask("glob", fresh=True, answer_s=None))
        return [RemotePath(f"{self.scheme}://{name}") for name in found]

    def find(self) -> dict[str, dict[str, Any]]:
        """Returns the same of all objects below this path, by their names relative to it."""
        root = (
            self._place()[1].rstrip("/") + "/"
        )  # names come in the place's words, with the bucket
        found = self._find("find", fresh=True, answer_s=None, detail=True)
        return {name.removeprefix(root): info for name, info in found.items()}


@functools.cache
def _options_of(scheme: str) -> Mapping[str, Any]:
    """What fsspec's file system is made with, besides what the user configured."""
    if family(scheme) != "s3":
        return {}
    own = conf.get(scheme, {}).get("config_kwargs", {})
    # Ours are the tries: botocore's own five of each would make them 150.
    ours = {"max_pool_connections": MAX_CONNECTIONS, "retries": {"total_max_attempts": 1}}
    return {"config_kwargs": {**ours, **own}}


def _as_posix(parts: tuple[str | os.PathLike[str], ...]) -> tuple[str, ...]:
    first, *others = [os.fspath(part) for part in parts]
    if match := _SCHEME.match(first):
        first = f"/{match[1]}/{first[match.end() :]}"
    return (first, *others)


def as_path(path: str | os.PathLike[str]) -> epath.Path:
    """Returns a path to a local file, or to an object where it starts with a `scheme://`.

    Args:
      path: `folder/file`, `gs://bucket/key`, `s3://bucket/key`, `az://container/key`, or any URL
        that fsspec serves. `file://` is local.

    Raises:
      InputError: Nothing here serves the scheme, or the package that does is not installed.
    """
    if isinstance(path, LocalPath | RemotePath):
        return path
    text = os.fspath(path)
    match = _SCHEME.match(text)
    if match is None:
        return LocalPath(text)
    if _DIGEST in text:  # would be passed over in silence
        raise InputError(
            f"{text}: an address with a digest is taken by score, stats, features, explain, Evaluator and "
            "for the reference of compare; here name a file"
        )
    if match[1] in _LOCAL_SCHEMES:  # fsspec serves these too, without what `files` guards against
        return LocalPath(text[match.end() :])
    _check_scheme(text, match[1])
    return RemotePath(text)


def match_paths(pattern: str | os.PathLike[str]) -> list[epath.Path]:
    """Returns what a pattern such as `runs/seed*` names, in order; a path without one stands for itself.

    A pattern that names nothing stands for itself as well, so that a message can show it.

    Args:
      pattern: As `as_path` takes it, with `*`, `?`, `[abc]` as in a shell.
    """
    path = as_path(pattern)
    if not glob.has_magic(str(path)) or path.exists():  # a folder may be called [a]
        return [path]
    if isinstance(path, RemotePath):
        return [*path.list_matches()] or [path]
    # With a slash at its end, a pattern names folders alone.
    end = "/" if os.fspath(pattern).endswith("/") else ""
    # `Path.glob` takes no pattern that begins at the root.
    found = sorted(glob.glob(f"{path}{end}"))  # noqa: PTH207
    return [LocalPath(name) for name in found] or [path]


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path names an object rather than a local file."""
    # Asked for each image of a folder: a path is made only for what may be a URL.
    return "://" in os.fspath(path) and isinstance(as_path(path), RemotePath)


def _check_scheme(url: str, scheme: str) -> None:
    # Asked here and not at the first use: a long run must not find out at its end.
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        raise InputError(
            f"{url}: nothing serves {scheme}://; expected a local path, or gs://, s3://, az:// "
            "or another scheme of fsspec's"
        ) from error
    except ImportError as error:
        package = _PACKAGES.get(family(scheme))
        remedy = f"pip install {package}" if package else str(error)
        raise InputError(f"{url}: {scheme}:// needs another package: {remedy}") from error
