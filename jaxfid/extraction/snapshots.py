"""Snapshots: what a killed run needs to go on where it was.

A snapshot is one file per set and process: what has been kept of the images so far, which batch comes
next, and what all this depends on. It replaces the one before it in a single step of the file system, so
that at any moment there is a whole one. After the last batch it stays, as the finished set, unless what is
made of that is kept elsewhere.
"""

import hashlib
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jaxfid.errors import InputError
from jaxfid.images.batches import Batch, Batches, Skipped

LARGEST_SHARE = 0.05
"""Snapshots that are long to write are made more rarely, so as to cost at most this share of the time."""

Arrays = Mapping[str, np.ndarray]


@runtime_checkable
class Keeper(Protocol):
    """An accumulator that can be written down and go on from what was written."""

    def state(self) -> Arrays:
        """Returns all that is kept so far, on the host."""
        ...

    def restore(self, state: Arrays) -> None:
        """Starts from what `state` gave, whatever the number of devices was."""


class Snapshots:
    """One set's progress in one process.

    Attributes:
      next_batch: Batches that what is kept holds already.
      skipped: Files left out of those.
    """

    def __init__(
        self,
        path: Path | None,
        identity: Mapping[str, Any],
        keepers: Sequence[Keeper],
        *,
        every_s: float,
        stays: bool = True,
    ) -> None:
        """Restores the accumulators from the file where there is one.

        Args:
          path: The snapshot's file; None for no snapshots.
          identity: All that the kept sums and the numbers of the batches depend on; values that JSON knows.
          keepers: What is kept of the set.
          every_s: Seconds from one snapshot to the next.
          stays: Whether one is made of the finished set, however soon.

        Raises:
          InputError: The file is of another source, protocol or the like, which the message names; or it
            cannot be read.
        """
        self.next_batch = 0
        self.skipped: list[Skipped] = []
        self._path, self._keepers, self._every_s, self._stays = path, keepers, every_s, stays
        self._identity = json.loads(json.dumps(identity))
        self._due = time.monotonic() + every_s
        if path is not None and path.exists():
            self._restore(path)

    def follow(
        self, batches: Batches, *, check: Callable[[], None] = lambda: None
    ) -> Iterator[Batch]:
        """Gives the batches and makes snapshots between them, when what is kept holds all given ones.

        Args:
          batches: Those from `next_batch` on.
          check: Called after each batch. What it raises ends the pass, after a last snapshot.

        Raises:
          InputError: A snapshot cannot be written.
        """
        earlier = list(self.skipped)
        for batch in batches:
            yield batch
            self.next_batch += 1
            self.skipped = [*earlier, *batches.skipped]
            if self._path is not None and time.monotonic() >= self._due:
                self._save(self._path)
            try:
                check()
            except BaseException:
                if self._path is not None:
                    self._save(self._path)
                raise
        if self._path is not None and self._stays and len(batches):
            self._save(self._path)

    def _save(self, path: Path) -> None:
        about = {
            "identity": self._identity,
            "next_batch": self.next_batch,
            "skipped": [[skipped.key, skipped.reason] for skipped in self.skipped],
        }
        arrays = {
            f"{number}.{name}": array
            for number, keeper in enumerate(self._keepers)
            for name, array in keeper.state().items()
        }
        began = (
            time.monotonic()
        )  # not before: reading the sums waits for steps that were to be done anyway
        _write(path, {"about": np.array(json.dumps(about)), **arrays})
        now = time.monotonic()
        self._due = now + max(self._every_s, (now - began) / LARGEST_SHARE)

    def _restore(self, path: Path) -> None:
        arrays = _read(path)
        about = json.loads(str(arrays.pop("about")))
        there, here = about["identity"], self._identity
        unequal = [
            f"{name} was {_short(there.get(name))}, is {_short(here.get(name))}"
            for name in sorted({*there, *here})
            if there.get(name) != here.get(name)
        ]
        if unequal:
            raise InputError(
                f"resume: {path} is of another run: {'; '.join(unequal)}. Go on as that run began, or "
                "choose another folder"
            )
        for number, keeper in enumerate(self._keepers):
            start = f"{number}."
            keeper.restore(
                {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}
            )
        self.next_batch = about["next_batch"]
        self.skipped = [Skipped(key, reason) for key, reason in about["skipped"]]


def snapshot_path(folder: str | Path, name: str, *, process: int) -> Path:
    """Returns where a process keeps the snapshot of a set; the folder is made where there is none.

    Args:
      folder: The user's.
      name: The set's, no other set's of the same run.
      process: Index of the process.

    Raises:
      InputError: The folder cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"resume: {folder} cannot be made: {error}") from error
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-40:].strip("-.")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return folder / f"{readable}-{digest}.{process}.npz"


def _write(path: Path, arrays: Arrays) -> None:
    """Writes the file so that it is there whole or not at all, whenever the process or machine dies."""
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"resume: {path} cannot be written: {error}") from error


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"resume: {path} cannot be read: {error}. Delete it to see its images again"
        ) from error


def _short(value: Any) -> str:  # noqa: ANN401
    text = json.dumps(value)
    return f'{text[:13]}..."' if len(text) == 66 else text
