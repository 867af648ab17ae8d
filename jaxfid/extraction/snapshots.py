"""Snapshots: what a killed run needs to go on where it was.

A snapshot is one file per set and process: what has been kept of the images so far, which batch comes
next, and what all this depends on. It replaces the one before it in a single step of the file system, so
that at any moment there is a whole one. The one of a finished set is kept, so that a later run does not see
its images again, unless what is made of the set is kept elsewhere.
"""

import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from etils import epath

from jaxfid.errors import InputError
from jaxfid.extraction.decoding import JointBatches
from jaxfid.extraction.device_batches import DeviceBatches
from jaxfid.images.batches import Batch, Skipped
from jaxfid.provenance import Provenance, describe_change
from jaxfid.storage.files import write_file
from jaxfid.storage.names import slug
from jaxfid.storage.npz import read_npz
from jaxfid.storage.paths import as_path

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


class _OtherRunError(InputError):
    """The snapshot is whole, and is of another run."""


class Snapshots:
    """One set's progress in one process.

    Attributes:
      next_batch: Batches that the accumulators hold already.
      skipped: Files left out of those batches.
      remarks: What the first images of the set give reason to say, whichever run has seen them.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        identity: Mapping[str, Any],
        keepers: Sequence[Keeper],
        *,
        every_s: float,
        keep_finished: bool = True,
    ) -> None:
        """Restores the accumulators from the file where there is one.

        Args:
          path: The snapshot's file; None for no snapshots.
          identity: All that the kept sums and the numbers of the batches depend on.
          keepers: What is kept of the set.
          every_s: Seconds from one snapshot to the next.
          keep_finished: Whether the finished set is kept, however soon it is finished.

        Raises:
          InputError: The file is of another source, protocol or the like, which the message names; or it
            cannot be read.
        """
        self.next_batch = 0
        self.skipped: list[Skipped] = []
        self.remarks: list[str] = []
        self._path = None if path is None else as_path(path)
        self._keepers = keepers
        self._every_s, self._keep_finished = every_s, keep_finished
        self._identity = Provenance(identity)
        self._due = time.monotonic() + every_s
        if self._path is not None and self._path.exists():
            self._restore(self._path)

    def follow(
        self,
        batches: JointBatches | DeviceBatches,
        *,
        check: Callable[[], None] = lambda: None,
        decide: Callable[[bool], bool] = lambda is_due: is_due,
    ) -> Iterator[Batch]:
        """Gives the batches and makes snapshots between them.

        A snapshot is made when control comes back: then the accumulators hold every batch that was given.

        Args:
          batches: Those from `next_batch` on.
          check: Called after each batch. What it raises ends the pass, after a last snapshot.
          decide: Likewise; from whether a snapshot is due here to whether it is to be made.

        Raises:
          InputError: A snapshot cannot be written.
        """
        earlier = list(self.skipped)
        for batch in batches:
            yield batch
            if self.next_batch == 0:  # else what comes first here is not the first of the set
                self.remarks = batches.remarks
            self.next_batch += 1
            self.skipped = [*earlier, *batches.skipped]
            try:
                is_due = decide(time.monotonic() >= self._due)
                check()
            except BaseException:
                if self._path is not None:
                    self._save(self._path)
                raise
            if self._path is not None and is_due:
                self._save(self._path)
        if self._path is not None and self._keep_finished and len(batches):
            self._save(self._path)

    def discard(self) -> None:
        """Deletes what is kept."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _save(self, path: epath.Path) -> None:
        header = {
            "identity": dict(self._identity),
            "next_batch": self.next_batch,
            "skipped": [[skipped.key, skipped.reason] for skipped in self.skipped],
            "remarks": self.remarks,
        }
        arrays = {
            f"{number}.{name}": array
            for number, keeper in enumerate(self._keepers)
            for name, array in keeper.state().items()
        }
        # Timed from here: reading the sums waits for steps that were to be done anyway.
        began = time.monotonic()
        write_file(path, functools.partial(np.savez, about=np.array(json.dumps(header)), **arrays))
        now = time.monotonic()
        self._due = now + max(self._every_s, (now - began) / LARGEST_SHARE)

    def _restore(self, path: epath.Path) -> None:
        try:
            self._restore_from(path)
        except _OtherRunError:
            raise
        # Whatever a damaged file leads to: its arrays and numbers are taken as they are.
        except (InputError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"resume: {path} cannot be read: {error}. Delete it to see its images again"
            ) from error

    def _restore_from(self, path: epath.Path) -> None:
        arrays = dict(read_npz(path))
        header = json.loads(str(arrays.pop("about")))
        # Before any array is used: sums of another network or set would be added to without a sign.
        unequal = Provenance(header["identity"]).diff(self._identity)
        if unequal:
            changes = "; ".join(describe_change(*change) for change in unequal)
            raise _OtherRunError(
                f"resume: {path} is of another run: {changes}. Go on as that run began, or "
                "choose another folder"
            )
        for number, keeper in enumerate(self._keepers):
            start = f"{number}."
            keeper.restore(
                {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}
            )
        self.next_batch = int(header["next_batch"])
        self.skipped = [Skipped(key, reason) for key, reason in header["skipped"]]
        self.remarks = [str(remark) for remark in header["remarks"]]


def snapshot_path(folder: str | os.PathLike[str], name: str, *, process: int) -> epath.Path:
    """Returns where a process keeps the snapshot of a set.

    Args:
      folder: The user's.
      name: The set's, no other set's of the same run.
      process: Index of the process.
    """
    return as_path(folder) / f"{slug(name)}.{process}.npz"
