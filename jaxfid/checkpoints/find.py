"""Finds the checkpoints of training runs and puts them in the order of their steps."""

import dataclasses
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from etils import epath

from jaxfid.checkpoints.steps import compile_step_pattern, find_step
from jaxfid.errors import InputError
from jaxfid.report.swept import Swept
from jaxfid.storage.digests import digest_json
from jaxfid.storage.faults import UnreachableError
from jaxfid.storage.files import FileStat, list_objects, open_file, stat_file
from jaxfid.storage.paths import RemotePath, as_path, match_paths

SUFFIXES = (".msgpack", ".safetensors", ".eqx", ".npz")
"""Endings of files that are checkpoints; Flax's own older ones, `checkpoint_100`, have none."""

# Orbax puts one of these into each folder that it finishes.
_ORBAX_MARKERS = frozenset({"_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"})
_ORBAX_UNFINISHED = "orbax-checkpoint-tmp"
# A bucket cannot rename a folder, so Orbax writes into the final one, and this file last.
_ORBAX_COMMIT = "commit_success.txt"
_STEP_FOLDER = re.compile(
    r"(?:(?:\w*[_-])?(?:steps?|iters?|checkpoint|ckpt|epoch)[_=-]?)?\d+", re.I
)
# How MessagePack begins a map of up to 15, 65,535 or more names.
_MAP_STARTS = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})
_SHARD = re.compile(r"(.+?)-(\d{5})-of-(\d{5})(\.\w+)")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk or in a bucket.

    Attributes:
      name: What tells it from the others: its file's or folder's name, or the whole path where two
        have the same.
      step: Its step by `find_step`; None where its name has none.
      path: Where it is. Of a model in several files, its index or else its first file.
      shards: All files of such a model; empty where `path` is the whole checkpoint.
      run: The training run that it belongs to, its folder, where several have checkpoints of one step.
      noise_seed: What its images are drawn from, where each checkpoint is drawn several times.
      swept: The settings that its images are drawn with, where a sweep has several.
      known_stamp: What `stamp` gave when it was chosen, on the machine where it was.
    """

    name: str
    step: int | None
    path: epath.Path
    shards: tuple[epath.Path, ...] = ()
    run: str | None = None
    noise_seed: int | None = None
    swept: Swept = dataclasses.field(default_factory=dict)
    known_stamp: str | None = None

    def stamp(self) -> str | None:
        """Returns its size and time, of objects their versions, which change when it is written again.

        None where it is gone.
        """
        if self.known_stamp is not None:
            return self.known_stamp
        found = self._stats()
        if not found:
            return None
        versions = sorted(s.version for s in found if s.version is not None)
        changed = digest_json(versions) if versions else _last_change_ns(found)
        return f"{sum(s.num_bytes for s in found)} bytes at {changed}"

    def is_settled(self, seconds: float) -> bool:
        """Returns whether it is there and its files say that they did not change for so long."""
        found = self._stats()
        return bool(found) and time.time() - _last_change_ns(found) / 1e9 >= seconds

    def _stats(self) -> list[FileStat]:
        """What is known of its files; nothing where it is gone, as a training job deletes old ones."""
        try:
            return [s for path in {self.path, *self.shards} for s in _stats_below(path)]
        except UnreachableError:
            raise
        except (OSError, InputError):
            return []


def find_checkpoints(
    paths: Sequence[str | os.PathLike[str]], step_pattern: str | None = None
) -> list[Checkpoint]:
    """Returns the checkpoints at these paths, sorted by step; those without a step come last.

    Several folders are runs of one model, where they have checkpoints of one step or one name.

    A file is a checkpoint, and so is a folder that Orbax wrote. Any other folder holds checkpoints:

    * files that end in `.msgpack`, `.safetensors`, `.eqx` or `.npz`, those of one model in several
      files (`model-00001-of-00003.safetensors`) as one, and files of Flax's without an ending
      (`checkpoint_100`, `ema_100`);
    * folders that Orbax wrote, whatever their names (`best`, `100`);
    * folders called by a step alone (`100`, `step_100`, `ckpt-100`, `epoch3`), and folders with any
      other step in their names that hold checkpoint files, such as `run-500/model.safetensors`.

    Hidden and empty ones and those that are still being written are left out.

    Args:
      paths: Folders of checkpoints, or checkpoints, in any mixture; also patterns such as `runs/seed*`.
      step_pattern: A regular expression, for names that the rules misread. The step is its first group. In
        a folder, the checkpoints are then exactly the files and folders in whose names it is found.

    Raises:
      InputError: A path does not exist or is given twice, or the pattern is not one.
    """
    places = [place for path in paths for place in match_paths(path)]
    _require_existing("checkpoints", places)
    pattern = None if step_pattern is None else compile_step_pattern(step_pattern)
    found = [child for place in places for child in _checkpoints_at(place, pattern)]
    _require_different("checkpoints", found)
    return _sort(_tell_apart(_name_runs(found)))


def find_sets(
    paths: Sequence[str | os.PathLike[str]], step_pattern: str | None = None
) -> list[Checkpoint]:
    """Returns sets of images that were sampled before, each path one, as if they were checkpoints.

    Args:
      paths: Each is a set.
      step_pattern: As in `find_checkpoints`.

    Raises:
      InputError: A path does not exist or is given twice, or the pattern is not one.
    """
    _require_existing("samples", paths)
    pattern = None if step_pattern is None else compile_step_pattern(step_pattern)
    found = [_checkpoint(path, pattern) for path in map(as_path, paths)]
    _require_different("samples", found)
    return _sort(_tell_apart(found))


def _require_existing(argument: str, paths: Sequence[str | os.PathLike[str]]) -> None:
    missing = [str(path) for path in paths if not as_path(path).exists()]
    if missing:
        raise InputError(f"{argument}: expected existing paths, found none at {', '.join(missing)}")


def _require_different(argument: str, found: Sequence[Checkpoint]) -> None:
    real = {c.path if isinstance(c.path, RemotePath) else c.path.resolve() for c in found}
    if len(real) < len(found):
        raise InputError(f"{argument}: expected each path once, found one twice")


def _tell_apart(found: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
    """Gives checkpoints of equal names those of their folders as well."""
    if len({checkpoint.name for checkpoint in found}) == len(found):
        return found
    return [dataclasses.replace(c, name=f"{_folder_of(c)}/{c.name}") for c in found]


def _name_runs(found: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
    """Says which run each is of, where several have checkpoints of one name or one step."""
    folders = {_folder_of(checkpoint) for checkpoint in found}
    places = {(_folder_of(c), c.step) for c in found if c.step is not None}
    shared = len({step for _, step in places}) < len(places)
    if len(folders) < 2 or not (shared or len({c.name for c in found}) < len(found)):
        return found
    return [dataclasses.replace(c, run=_folder_of(c)) for c in found]


def _folder_of(checkpoint: Checkpoint) -> str:
    return str(checkpoint.path.parent)


def _sort(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    return sorted(checkpoints, key=lambda c: (c.step is None, c.step or 0, c.name))


def _checkpoint(path: epath.Path, pattern: re.Pattern[str] | None) -> Checkpoint:
    return Checkpoint(path.name, find_step(path.name, pattern), path)


def _checkpoints_at(path: epath.Path, pattern: re.Pattern[str] | None) -> list[Checkpoint]:
    if path.is_file():
        return [_checkpoint(path, pattern)]
    names = _names_in(path)
    if names & _ORBAX_MARKERS:
        return [_checkpoint(path, pattern)] if _is_finished(path, names, False) else []
    found = _checkpoints_in(path, pattern)
    # A glob such as `run/checkpoint-*` names folders that are checkpoints themselves.
    itself = not any(child.step is not None for child in found)
    return [_checkpoint(path, pattern)] if itself and _is_folder(path, names) else found


def _checkpoints_in(folder: epath.Path, pattern: re.Pattern[str] | None) -> list[Checkpoint]:
    children = [child for child in folder.iterdir() if not child.name.startswith(".")]
    folders = {child: _names_in(child) for child in children if child.is_dir()}
    files = [child for child in children if child not in folders and child.is_file()]
    commits = any(_ORBAX_COMMIT in names for names in folders.values())
    finished = {f: names for f, names in folders.items() if _is_finished(f, names, commits)}
    if pattern is not None:
        found = [child for child in (*files, *finished) if pattern.search(child.name)]
        return [_checkpoint(child, pattern) for child in found]
    whole = [f for f, names in finished.items() if _is_folder(f, names)]
    whole += [file for file in files if _is_file(file) and not _SHARD.fullmatch(file.name)]
    return [_checkpoint(path, None) for path in whole] + _join_shards(files)


def _names_in(folder: epath.Path) -> set[str]:
    try:
        return {child.name for child in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):  # a file, or deleted while we look
        return set()


def _is_finished(folder: epath.Path, names: set[str], commits: bool) -> bool:
    """Whether nobody writes there any more; `commits`: whether others of the run have commit files."""
    if not names or any(_ORBAX_UNFINISHED in name for name in (folder.name, *names)):
        return False
    commits = commits or str(folder).startswith("gs://")
    return not (commits and names & _ORBAX_MARKERS) or _ORBAX_COMMIT in names


def _is_folder(folder: epath.Path, names: set[str]) -> bool:
    """Whether a folder is a checkpoint as a whole."""
    if names & _ORBAX_MARKERS:
        return True
    if find_step(folder.name) is None:
        return False
    return bool(_STEP_FOLDER.fullmatch(folder.name)) or any(n.endswith(SUFFIXES) for n in names)


def _is_file(file: epath.Path) -> bool:
    if file.name.endswith(SUFFIXES) or re.fullmatch(r"checkpoint_\d+", file.name):
        return True
    # Flax names files by a prefix of the user's choice, and begins them with a MessagePack map.
    return bool(re.fullmatch(r"[A-Za-z_]+_\d+", file.name)) and _begins_with_map(file)


def _begins_with_map(file: epath.Path) -> bool:
    with open_file(file) as opened:
        return next(iter(opened.read(1)), None) in _MAP_STARTS


def _join_shards(files: Sequence[epath.Path]) -> list[Checkpoint]:
    """Models in several files, those of which all files are there."""
    models: dict[tuple[str, str, str], list[epath.Path]] = {}
    for file in sorted(files, key=lambda path: path.name):
        if (match := _SHARD.fullmatch(file.name)) and file.name.endswith(SUFFIXES):
            models.setdefault((match[1], match[4], match[3]), []).append(file)
    return [
        Checkpoint(f"{stem}{suffix}", find_step(stem), _index_of(shards), tuple(shards))
        for (stem, suffix, count), shards in models.items()
        if len(shards) == int(count)
    ]


def _index_of(shards: Sequence[epath.Path]) -> epath.Path:
    """The file that says which tensor is in which shard, where there is one, else the first shard."""
    match = _SHARD.fullmatch(shards[0].name)
    index = shards[0].parent / f"{match[1]}{match[4]}.index.json" if match else shards[0]
    return index if index.is_file() else shards[0]


def _last_change_ns(found: Sequence[FileStat]) -> int:
    return max((s.mtime_ns or 0 for s in found), default=0)


def _stats_below(path: epath.Path) -> Iterator[FileStat]:
    """What is known of every file from this path down; raises OSError or InputError where it is gone."""
    if isinstance(path, RemotePath):
        objects = [stat_file(path)] if path.is_file() else [*list_objects(path).values()]
        if not objects:
            raise FileNotFoundError(path)
        yield from objects
    else:
        yield from _local_stats(Path(path))


def _local_stats(path: Path) -> Iterator[FileStat]:
    """Folders as well: one whose files were deleted has changed. Links are not followed down."""
    waiting = [path]
    while waiting:
        current = waiting.pop()
        found = current.stat()
        yield FileStat(found.st_size, found.st_mtime_ns, found.st_ino)
        if current.is_dir() and (current == path or not current.is_symlink()):
            waiting += current.iterdir()
