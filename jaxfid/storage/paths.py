"""Paths to local files and to objects in buckets; to add a place, this room is enough.

A local path stays a `pathlib.Path`. Everything with a `scheme://` goes through fsspec, which has an
implementation for each place (`gs`, `s3`, `az`, `hf`, `sftp`, ...) in a package of its own.
"""

import glob
import os
import pathlib
import posixpath
import re
from collections.abc import Iterator
from typing import Any

import fsspec
from etils import epath

from jaxfid.errors import InputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*)://")
_LOCAL_SCHEMES = ("file", "local")
_EXTRAS = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "az": "adlfs",
    "abfs": "adlfs",
}


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
    def _place(self) -> tuple[Any, str]:
        """The file system, which fsspec keeps one of per place, and this path in its words."""
        return fsspec.url_to_fs(str(self))

    def _fresh(self) -> tuple[Any, str]:
        """The same, with nothing remembered: another process may have written there since."""
        system, path = self._place
        # A listing is remembered under the folder that was listed.
        system.invalidate_cache(system._parent(path))
        system.invalidate_cache(path)
        return system, path

    def exists(self) -> bool:
        """Whether there is an object, or a folder of objects."""
        system, path = self._fresh()
        return system.exists(path)

    def is_dir(self) -> bool:
        """Whether objects lie below this path."""
        system, path = self._fresh()
        return system.isdir(path)

    def is_file(self) -> bool:
        """Whether this is an object."""
        system, path = self._fresh()
        return system.isfile(path)

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yields what lies directly below this path."""
        system, path = self._fresh()
        for name in system.ls(path, detail=False):
            if name.rstrip("/") != path.rstrip("/"):  # a folder made by hand lists itself
                yield self / posixpath.basename(name.rstrip("/"))

    def expanduser(self) -> "RemotePath":
        """Returns the path itself: a bucket has no home folder."""
        return self

    def mkdir(self, mode: int | None = None, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: a folder of a bucket is there once an object is in it."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the object."""
        system, path = self._place
        try:
            system.rm_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def open(self, mode: str = "r", **options: Any) -> Any:  # noqa: ANN401
        """Opens the object; fsspec's files share no class. `files` opens and writes it safely."""
        system, path = self._place
        return system.open(path, mode, **options)

    def read_range(self, offset: int, num_bytes: int) -> bytes:
        """Returns these bytes of the object, fewer where it ends before; any thread may ask."""
        system, path = self._place
        # Some places answer a range of nothing, or one behind the end, by an error of their own.
        return system.cat_file(path, start=offset, end=offset + num_bytes) if num_bytes else b""

    def info(self) -> dict[str, Any]:
        """Returns what the place says of the object; `size` is everywhere."""
        system, path = self._fresh()
        return system.info(path)

    def list_matches(self) -> list["RemotePath"]:
        """Returns what lies where this path, as a pattern, says; in order."""
        system, path = self._fresh()
        scheme = self.parts[1]
        found = sorted(name.strip("/") for name in system.glob(path))
        return [RemotePath(f"{scheme}://{name}") for name in found]

    def find(self) -> dict[str, dict[str, Any]]:
        """Returns the same of all objects below this path, by their names relative to it."""
        system, path = self._fresh()
        root = path.rstrip("/") + "/"  # names come in the place's words, with the bucket
        return {
            name.removeprefix(root): info for name, info in system.find(path, detail=True).items()
        }


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
        package = _EXTRAS.get(scheme)
        remedy = f"pip install {package}" if package else str(error)
        raise InputError(f"{url}: {scheme}:// needs another package: {remedy}") from error
