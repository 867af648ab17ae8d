"""Scores as scalars for TensorBoard, beside those of the training."""

import importlib.util
from pathlib import Path

from jaxfid.errors import InputError
from jaxfid.report.entries import Entry
from jaxfid.report.scalars import iter_scalars


class ScalarWriter:
    """Writes `jaxfid/<metric>` and `jaxfid/<metric>_stderr` at the checkpoints' steps.

    The tags of a sweep and of replicates end in their run, settings and noise seed.
    """

    def __init__(self, folder: Path) -> None:
        """Opens a folder of event files.

        Args:
          folder: Where TensorBoard looks for them; it is made where there is none.

        Raises:
          InputError: The package `tensorboardX` is not installed, or the folder cannot be written to.
        """
        # Asked for at the start: a comparison must not find out after its first checkpoint.
        if importlib.util.find_spec("tensorboardX") is None:
            raise InputError(
                "tensorboard: needs the package tensorboardX; pip install tensorboardX"
            )
        from tensorboardX import SummaryWriter

        try:
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            raise InputError(
                f"tensorboard: {folder}: cannot be written: {error.strerror}"
            ) from error

    def write(self, entry: Entry) -> None:
        """Writes a checkpoint's scores; one without a step or scores has no place on a curve."""
        if entry.step is None:
            return
        for tag, value in iter_scalars(entry):
            self._writer.add_scalar(tag, value, entry.step)
        self._writer.flush()  # a checkpoint takes minutes, and people watch
