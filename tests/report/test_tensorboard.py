"""Scores as scalars for TensorBoard."""

import math

import pytest

from jaxfid.errors import InputError
from jaxfid.report.tensorboard import ScalarWriter
from tests.report.entries import make_entry, make_failure

tensorboard = pytest.importorskip("tensorboardX")


def test_folder_below_a_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"tensorboard: .*file/logs: cannot be written: Not a dir"):
        ScalarWriter(tmp_path / "file" / "logs")


def test_only_numbers_at_steps_are_written(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        tensorboard.SummaryWriter, "add_scalar", lambda self, *scalar: written.append(scalar)
    )
    writer = ScalarWriter(tmp_path)
    for entry in (make_entry(7, 3.0, kid=math.nan), make_failure(8), make_entry(None, 2.0)):
        writer.write(entry)
    assert written == [("jaxfid/fid", 3.0, 7), ("jaxfid/fid_stderr", 0.05, 7)]
    written.clear()
    for seed in (0, 1):
        writer.write(
            make_entry(7, 3.0, run="runs/a", noise_seed=seed, name=f"runs/a/7 noise {seed}")
        )
    # A curve has one value at a step.
    assert [tag for tag, _, _ in written[::2]] == [
        "jaxfid/fid/runs/a/noise 0",
        "jaxfid/fid/runs/a/noise 1",
    ]
