"""Scores as scalars for TensorBoard, beside those of the training."""

import importlib.util
from pathlib import Path

from jaxfid.errors import InputError
from jaxfid.report.run_folder import Entry


class ScalarWriter:
    """Writes `jaxfid/<metric>` and `jaxfid/<metric>_stderr` at the checkpoints' steps."""

    def __init__(self, folder: Path) -> None:
        """Opens a folder of event files; raises InputError where `tensorboardX` is not installed."""
        if importlib.util.find_spec("tensorboardX") is None:
            raise InputError(
                "tensorboard: needs the package tensorboardX; pip install 'jaxfid[tensorboard]'"
            )
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, entry: Entry) -> None:
        """Writes a checkpoint's scores; one without a step or scores has no place on a curve."""
        if entry.step is None or entry.scores is None:
            return
        for name, metric in entry.scores.metrics.items():
            self._writer.add_scalar(f"jaxfid/{name}", metric.value, entry.step)
            if metric.stderr is not None:
                self._writer.add_scalar(f"jaxfid/{name}_stderr", metric.stderr, entry.step)
        self._writer.flush()
