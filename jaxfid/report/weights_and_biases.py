"""Scores in a run of Weights & Biases, over the checkpoints' steps."""

import importlib.util
from typing import Any

from jaxfid.errors import InputError, JaxfidError
from jaxfid.report.entries import Entry
from jaxfid.report.scalars import iter_scalars

_STEP = "jaxfid/step"


class RunLogger:
    """Logs `jaxfid/<metric>` and `jaxfid/<metric>_stderr` over `jaxfid/step` to a new run.

    wandb's own variables hold: with `WANDB_MODE=offline` it writes to a folder and sends nothing.
    """

    def __init__(self, project: str) -> None:
        """Starts the run.

        Args:
          project: The project that it belongs to.

        Raises:
          InputError: The package `wandb` is not installed.
          JaxfidError: The run could not be started.
        """
        # Asked for at the start: a comparison must not find out after its first checkpoint.
        if importlib.util.find_spec("wandb") is None:
            raise InputError("wandb: needs the package wandb; pip install wandb")
        import wandb  # pyright: ignore[reportMissingImports]

        try:
            self._run: Any = wandb.init(project=project, job_type="jaxfid")
        except Exception as error:  # whatever its service, its login or its network says
            raise JaxfidError(f"wandb: no run could be started: {error}") from error
        # Of its own, since checkpoints need not be scored in the order of their steps.
        self._run.define_metric(_STEP)
        self._run.define_metric("jaxfid/*", step_metric=_STEP)

    def write(self, entry: Entry) -> None:
        """Logs a checkpoint's scores; one without a step or scores has no place on a curve."""
        scalars = dict(iter_scalars(entry))
        if entry.step is not None and scalars:
            self._run.log({**scalars, _STEP: entry.step})
