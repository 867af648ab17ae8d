"""The example of a sharded transformer that is swept, shortened."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxfid.report.models import find_models
from jaxfid.report.run_folder import RunFolder

EXAMPLE = Path(__file__).parents[1] / "scripts/examples/sharded_sweep"
ROOT = Path(__file__).parents[1]
FEW = ("--num-images", "16", "--chunk-size", "8", "--extractor", "tests.tiny:make_tiny")

pytestmark = pytest.mark.slow


@pytest.fixture
def transformer(monkeypatch):
    """The example's module, importable by its name for the time of a test."""
    monkeypatch.syspath_prepend(EXAMPLE)
    import transformer

    yield transformer
    del sys.modules["transformer"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What the example wrote after very few steps, scored by a network of no layers."""
    folder = tmp_path_factory.mktemp("sharded_sweep")
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "SAVE_AT": "2,4",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([EXAMPLE / "run", folder, *FEW], check=True, env=environment)
    return folder


def test_each_combination_is_a_model_of_three_noise_seeds(out):
    entries = RunFolder(out / "run").entries
    assert all(entry.scores is not None for entry in entries)
    models = find_models(entries)
    assert [(m.step, *m.swept.values(), len(m.entries)) for m in models] == [
        (step, cfg, ema, 3) for step in (2, 4) for cfg in (1, 2, 4) for ema in (0.9, 0.99)
    ]
    values = {entry.scores.metrics["fd_tiny"].value for entry in entries}
    assert len(values) == len(entries)  # guidance, average and noise all act
    rows = list(csv.DictReader((out / "run/results.csv").read_text().splitlines()))
    assert {(row["cfg"], row["ema"]) for row in rows} == {
        (cfg, ema) for cfg in "124" for ema in ("0.9", "0.99")
    }
    page = (out / "report.html").read_text()
    assert "<h2>Over cfg and ema</h2>" in page
    assert page.count('class="line c') == 6


def test_parameters_and_images_are_sharded_over_all_devices(out, transformer):
    sample = transformer.make_sample(out / "checkpoints/4", ema=0.9)
    _, params = sample.args
    sharded = [leaf for leaf in jax.tree.leaves(params) if not leaf.is_fully_replicated]
    # But for the embedding of five classes, which eight devices do not divide along any axis but the last.
    assert len(sharded) == len(jax.tree.leaves(params))
    assert all(len(leaf.sharding.device_set) == 8 for leaf in sharded)
    labels = np.arange(16) % 4
    images = sample(jax.random.key(0), labels, cfg=2.0)
    assert {shard.data.shape for shard in images.addressable_shards} == {(2, 16, 16, 3)}
    assert float(abs(images).max()) <= 1
    # Without guidance no class is led away from; with it the classes' images differ more.
    plain = sample(jax.random.key(0), labels)
    assert not np.array_equal(images, plain)


def test_two_processes_that_share_the_devices_draw_and_score_the_same(out):
    environment = {**os.environ, "PYTHON": sys.executable, "PROCESSES": "2"}
    environment |= {"SAVE_AT": "2,4", "PYTHONPATH": str(ROOT)}
    together = out / "together"
    subprocess.run([EXAMPLE / "run", together, *FEW], check=True, env=environment)
    one, two = (
        {entry.name: entry.scores.metrics["fd_tiny"].value for entry in RunFolder(run).entries}
        for run in (out / "run", together / "run")
    )
    # Sums of attention are taken in another order, and a pixel may round to its neighbour.
    assert two == pytest.approx(one, rel=1e-4)
