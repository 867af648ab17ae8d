"""Waiting for a training job."""

import dataclasses
import time

from jaxfid.checkpoints.find import Checkpoint


@dataclasses.dataclass(frozen=True)
class Watch:
    """How to go on while a training job writes checkpoints.

    Attributes:
      timeout_s: How long to wait for another checkpoint before the comparison ends.
      poll_s: How often to look.
      settle_s: How long nothing in a checkpoint must have changed before it counts as finished.
    """

    timeout_s: float = 3600.0
    poll_s: float = 10.0
    settle_s: float = 10.0


class Settling:
    """Tells which checkpoints nobody writes any more.

    A file's time alone does not tell: where the file server's clock is ahead, it lies in the future for
    hours. So a checkpoint counts as finished either if its files say so, or if it has been seen
    unchanged for as long by the clock of this process.
    """

    def __init__(self, settle_s: float) -> None:
        """Begins with nothing seen.

        Args:
          settle_s: How long nothing in a checkpoint must have changed.
        """
        self._settle_s = settle_s
        self._seen: dict[str, tuple[str | None, float]] = {}

    def is_settled(self, checkpoint: Checkpoint) -> bool:
        """Returns whether a checkpoint is there and finished; call it at every look."""
        stamp, now = checkpoint.stamp(), time.monotonic()
        name = str(checkpoint.path)
        if stamp is None:
            return False
        if self._seen.get(name, (None, 0.0))[0] != stamp:
            self._seen[name] = (stamp, now)
        unchanged_s = now - self._seen[name][1]
        return unchanged_s >= self._settle_s or checkpoint.is_settled(self._settle_s)
