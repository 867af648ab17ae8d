"""Finds a training run's checkpoints and puts them in the order of their steps."""

import dataclasses
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxfid.errors import InputError

SUFFIXES = (".msgpack", ".safetensors")
"""Endings of files that are checkpoints; Flax's own older ones, `checkpoint_100`, have none."""

_MARKERS = (
    "_CHECKPOINT_METADATA",
    "_METADATA",
    "manifest.ocdbt",
)  # Orbax puts one of them in each.
_UNFINISHED = "orbax-checkpoint-tmp"
_FLAX_FILE = re.compile(r"checkpoint_\d+")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
      name: What tells it from the others of the run: its file's or folder's name, or the whole path
        where two have the same.
      step: The last number in its name; None where there is none.
      path: Where it is.
    """

    name: str
    step: int | None
    path: Path

    def stamp(self) -> str | None:
        """Returns what changes when it is written again, size and time; None where it is gone."""
        status = self._status()
        return None if status is None else f"{status[0]} bytes at {status[1]}"

    def is_settled(self, seconds: float) -> bool:
        """Returns whether it is there and nothing in it has changed for so long."""
        status = self._status()
        return status is not None and time.time() - status[1] / 1e9 >= seconds

    def _status(self) -> tuple[int, int] | None:
        """Bytes, and nanoseconds of the last change."""
        try:
            states = [path.stat() for path in _walk(self.path)]
        except OSError:  # a training job deletes old ones
            return None
        return sum(s.st_size for s in states), max(s.st_mtime_ns for s in states)


def find_checkpoints(paths: Sequence[str | os.PathLike[str]]) -> list[Checkpoint]:
    """Returns the checkpoints at these paths, sorted by step, those without a step last.

    A file is a checkpoint, and so is a folder that Orbax wrote. Of any other folder it is

    * its folders whose names end in a number, such as Orbax's steps (`100`, `ckpt_00000100`), but those
      that are being written;
    * its files that end in `.msgpack` or `.safetensors`, and Flax's older `checkpoint_100`.

    Args:
      paths: Folders of checkpoints, or checkpoints, mixed as one likes.

    Raises:
      InputError: A path does not exist, or is there twice.
    """
    _require_existing("checkpoints", paths)
    found = [child for path in paths for child in _checkpoints_at(Path(path))]
    return _name("checkpoints", found)


def find_sets(paths: Sequence[str | os.PathLike[str]]) -> list[Checkpoint]:
    """Returns sets of images that were sampled before, each path one, as if they were checkpoints.

    Raises:
      InputError: A path does not exist, or is there twice.
    """
    _require_existing("samples", paths)
    return _name("samples", [Path(path) for path in paths])


def _require_existing(argument: str, paths: Sequence[str | os.PathLike[str]]) -> None:
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing:
        raise InputError(f"{argument}: expected existing paths, found none at {', '.join(missing)}")


def _name(argument: str, found: Sequence[Path]) -> list[Checkpoint]:
    if len({path.resolve() for path in found}) < len(found):
        raise InputError(f"{argument}: expected each path once, found one twice")
    short = len({path.name for path in found}) == len(found)
    checkpoints = [
        Checkpoint(path.name if short else path.as_posix(), find_step(path.name), path)
        for path in found
    ]
    return sorted(checkpoints, key=_order)


def find_step(name: str) -> int | None:
    """Returns the last number in a name, its ending aside: 1200 for `epoch3-step1200.msgpack`."""
    numbers = re.findall(r"\d+", name.removesuffix(".msgpack").removesuffix(".safetensors"))
    return int(numbers[-1]) if numbers else None


def _order(checkpoint: Checkpoint) -> tuple[bool, int, str]:
    return checkpoint.step is None, checkpoint.step or 0, checkpoint.name


def _checkpoints_at(path: Path) -> list[Path]:
    if path.is_file() or any((path / marker).exists() for marker in _MARKERS):
        return [path]
    return [child for child in path.iterdir() if _is_checkpoint(child)]


def _is_checkpoint(path: Path) -> bool:
    if path.name.startswith(".") or _UNFINISHED in path.name:
        return False
    if path.is_dir():
        return path.name[-1].isdecimal() and _holds_something(path)
    return path.suffix in SUFFIXES or _FLAX_FILE.fullmatch(path.name) is not None


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:  # deleted while we look
        return False


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        for child in path.iterdir():
            yield from _walk(child)
