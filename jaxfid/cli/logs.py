"""Where scores are logged beside those of the training: TensorBoard, Weights & Biases."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxfid.checkpoints.steps import find_step
from jaxfid.errors import InputError
from jaxfid.result import SetResult
from jaxfid.storage.paths import is_remote

if TYPE_CHECKING:
    from jaxfid.report.entries import Entry


def add_logs(parser: argparse.ArgumentParser) -> None:
    """Adds where scores are logged."""
    parser.add_argument("--tensorboard", metavar="DIR", help="write scalars for TensorBoard there")
    parser.add_argument("--wandb", metavar="PROJECT", help="log to a run of Weights & Biases")


def check_logs(options: argparse.Namespace) -> None:
    """Checks what can be checked at once.

    Raises:
      InputError: The folder for TensorBoard lies in a bucket, which tensorboardX does not write to.
    """
    if options.tensorboard is not None and is_remote(options.tensorboard):
        raise InputError(f"tensorboard: expected a local folder, found {options.tensorboard}")


def open_logs(options: argparse.Namespace) -> "list[Callable[[Entry], None]]":
    """Returns a function for each place, to be called with each entry.

    Raises:
      InputError: A package is not installed, or a folder cannot be written.
      JaxfidError: A run could not be started.
    """
    writers: list[Callable[[Entry], None]] = []
    if options.tensorboard is not None:
        from jaxfid.report.tensorboard import ScalarWriter

        writers.append(ScalarWriter(Path(options.tensorboard)).write)
    if options.wandb is not None:
        from jaxfid.report.weights_and_biases import RunLogger

        writers.append(RunLogger(options.wandb).write)
    return writers


def to_entry(scored: SetResult, names: Sequence[str]) -> "Entry":
    """Returns a set of `score` as what is logged.

    Sets whose names tell different steps are points of one curve; others have a curve each.

    Args:
      scored: The set.
      names: All sets of the run.
    """
    from jaxfid.report.entries import Entry

    name, steps = scored.generated, [find_step(Path(name).name) for name in names]
    if None not in steps and len({*steps}) == len(steps):
        return Entry(name, find_step(Path(name).name), "", 0.0, scored)
    return Entry(name, 0, "", 0.0, scored, run=name if len(names) > 1 else None)
