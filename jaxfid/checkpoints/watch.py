"""Waiting for a training job."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Watch:
    """How to go on while a training job writes checkpoints.

    Attributes:
      timeout_s: How long to wait for another checkpoint before the series ends.
      poll_s: How often to look.
      settle_s: How long nothing in a checkpoint must have changed before it is taken for finished.
    """

    timeout_s: float = 3600.0
    poll_s: float = 10.0
    settle_s: float = 10.0
