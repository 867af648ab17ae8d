"""Scores as scalars for Weights & Biases."""

import importlib.util
import sys
import types

import pytest

from jaxfid.errors import InputError, JaxfidError
from jaxfid.report.weights_and_biases import RunLogger
from tests.report.entries import make_entry, make_failure


class Run:
    def __init__(self):
        self.logged, self.metrics = [], []

    def define_metric(self, name, step_metric=None):
        self.metrics.append((name, step_metric))

    def log(self, fields):
        self.logged.append(fields)


def stand_in(monkeypatch, init):
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_scores_are_logged_over_the_checkpoints_own_steps(monkeypatch):
    run, asked = Run(), {}
    stand_in(monkeypatch, lambda **given: asked.update(given) or run)
    logger = RunLogger("flowers")
    for entry in (make_entry(7, 3.0), make_failure(8), make_entry(None, 2.0)):
        logger.write(entry)
    assert asked["project"] == "flowers"
    assert run.metrics == [("jaxfid/step", None), ("jaxfid/*", "jaxfid/step")]
    assert run.logged == [{"jaxfid/fid": 3.0, "jaxfid/fid_stderr": 0.05, "jaxfid/step": 7}]


def test_what_keeps_a_run_from_starting_is_one_sentence(monkeypatch):
    def init(**given):
        raise RuntimeError("no login")

    stand_in(monkeypatch, init)
    with pytest.raises(JaxfidError, match="wandb: no run could be started: no login"):
        RunLogger("flowers")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install wandb"):
        RunLogger("flowers")


@pytest.mark.slow
def test_the_real_package_writes_a_run_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = RunLogger("flowers")
    logger.write(make_entry(7, 3.0))
    assert logger._run.summary["jaxfid/fid"] == 3.0
    logger._run.finish()
    assert list(tmp_path.rglob("*.wandb"))
