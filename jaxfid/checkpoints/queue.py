"""Which checkpoint comes next: process 0 looks, and all take the same."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from jaxfid.checkpoints.find import Checkpoint
from jaxfid.checkpoints.following import from_text, to_text
from jaxfid.checkpoints.watch import Settling, Watch
from jaxfid.distributed.group import process_group
from jaxfid.report.run_folder import RunFolder

_WAIT, _END = "wait", "end"


class Queue:
    """The checkpoints that are found and not finished, lowest step first."""

    def __init__(
        self,
        find: Callable[[], Sequence[Checkpoint]],
        folder: RunFolder,
        *,
        watch: Watch | None,
        before_waiting: Callable[[], None],
    ) -> None:
        """Begins with none tried.

        Args:
          find: Called again for each, as checkpoints come and go; on process 0 alone.
          folder: Where those that are finished are kept.
          watch: How to wait for more; None ends when none is left.
          before_waiting: Called on every process when nothing is left to do for now.
        """
        self._find, self._folder, self._watch = find, folder, watch
        self._before_waiting = before_waiting
        self._tried: set[tuple[str, str | None]] = set()
        self._settling = None if watch is None else Settling(watch.settle_s)

    def next(self) -> Checkpoint | None:
        """Returns the next one, the same on every process; None at the end."""
        word = self._choose() if process_group().index == 0 else self._hear()
        return None if word == _END else from_text(word)

    def _choose(self) -> str:
        group, since, is_waiting = process_group(), time.monotonic(), False
        # Looked for anew each time: training may write or delete checkpoints meanwhile.
        while (checkpoint := self._first_unfinished()) is None:
            watch = self._watch
            if watch is None or time.monotonic() - since > watch.timeout_s:
                return group.tell(_END)
            if not is_waiting:
                group.tell(_WAIT)
                self._before_waiting()
            is_waiting = True
            group.check()  # the others may have ended
            time.sleep(watch.poll_s)
        self._tried.add((checkpoint.name, checkpoint.known_stamp))
        return group.tell(to_text(checkpoint))

    def _hear(self) -> str:
        while (word := process_group().tell("")) == _WAIT:
            self._before_waiting()
        return word

    def _first_unfinished(self) -> Checkpoint | None:
        settling = self._settling
        # All of them are looked at each time, so that every one's time to settle runs.
        settled = [c for c in self._find() if settling is None or settling.is_settled(c)]
        for checkpoint in settled:
            stamp = checkpoint.stamp()
            finished = stamp is None or self._folder.is_finished(checkpoint.name, stamp)
            if not finished and (checkpoint.name, stamp) not in self._tried:
                return dataclasses.replace(checkpoint, known_stamp=stamp)
        return None
