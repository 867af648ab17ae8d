"""Several processes as one comparison: process 0 chooses, decides and writes, and the others follow."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

from jaxfid.checkpoints.find import Checkpoint
from jaxfid.distributed.gather import gather_text
from jaxfid.distributed.group import process_group
from jaxfid.report.entries import from_line, to_line
from jaxfid.report.run_folder import RunFolder
from jaxfid.storage.paths import as_path

_T = TypeVar("_T")


class FollowedFolder(RunFolder):
    """The folder of a run as the other processes have it: in memory, so that it need not be theirs."""

    writes = False

    def write(self, name: str, content: str | bytes) -> None:
        """Does nothing: process 0 writes."""

    def _read(self, name: str, parse: Callable[[bytes], _T]) -> _T | None:
        return None


@contextlib.contextmanager
def hold_folder(path: str | os.PathLike[str]) -> Iterator[RunFolder]:
    """Opens the folder of a run: to write there on process 0, in memory on the others.

    Raises:
      InputError: As `RunFolder.hold`.
    """
    if process_group().index:
        yield FollowedFolder(path)
        return
    with RunFolder.hold(path) as folder:
        yield folder


def share_entries(folder: RunFolder) -> None:
    """Gives all processes the entries that are in the folder of process 0; waits for all."""
    group = process_group()
    if group.count == 1:
        return
    mine = "".join(map(to_line, folder.entries)) if folder.writes else ""
    for line in gather_text(group, mine)[0].splitlines():
        if not folder.writes:
            folder.add(from_line(line.encode()))


def to_text(checkpoint: Checkpoint) -> str:
    """Returns a checkpoint as the other processes are told of it."""
    fields = {f.name: getattr(checkpoint, f.name) for f in dataclasses.fields(checkpoint)}
    fields |= {"path": str(checkpoint.path), "shards": [str(path) for path in checkpoint.shards]}
    return json.dumps(fields | {"swept": dict(checkpoint.swept)})


def from_text(text: str) -> Checkpoint:
    """Returns the checkpoint that `to_text` wrote."""
    fields = json.loads(text)
    paths = {
        "path": as_path(fields["path"]),
        "shards": tuple(as_path(path) for path in fields["shards"]),
    }
    return Checkpoint(**{**fields, **paths})
