"""The example of a training that is compared, shortened; and whole, where there is time."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxfid.checkpoints.compare import compare_checkpoints
from jaxfid.cli.demo import draw_pictures
from jaxfid.images.sources import open_source
from jaxfid.report.page import make_page
from jaxfid.report.run_folder import RunFolder

EXAMPLE = Path(__file__).parents[1] / "scripts/examples/train_and_compare"
MODULES = ("pictures", "flow", "train")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of drawn pictures in two classes."""
    root = tmp_path_factory.mktemp("pictures")
    for i, pixels in enumerate(draw_pictures(60, np.random.default_rng(0))):
        path = root / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[:, : 64 - i % 3]).save(path)
    return root


@pytest.fixture
def example(monkeypatch, tmp_path):
    """The example's modules, importable by their names for the time of a test."""
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def run(folder, monkeypatch, tmp_path):
    """Runs Python beside the prepared data set and returns what it printed."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLE))

    def run(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    run(EXAMPLE / "pictures.py", folder, tmp_path / "tfds")
    return run


def test_shortened(example, folder, tmp_path, monkeypatch):
    import pictures
    import train

    pictures.main(str(folder), str(tmp_path / "tfds"))
    source = open_source("tfds:pictures/train")
    assert (len(source), source.read(0).shape) == (60, (32, 32, 3))
    assert sorted(set(source.labels)) == ["a", "b"]

    checkpoints = tmp_path / "checkpoints"
    arguments = ["tfds:pictures/train", str(checkpoints), "--save-at", "1,3", "--batch-size", "4"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    train.main()

    entries = compare_checkpoints(
        "tfds:pictures/train", [checkpoints], "flow:make_sample", out=tmp_path / "run",
        num_images=6, chunk_size=6, value_range=(-1, 1), limit=8, devices=1,
        weights="untrained", dims=64,
    )  # fmt: skip
    assert [(entry.name, entry.step) for entry in entries] == [("1", 1), ("3", 3)]
    first, last = (entry.scores.metrics["fid"].value for entry in entries)
    assert first != last
    assert "Checkpoint 3 has" in make_page(RunFolder(tmp_path / "run")) or first < last


@pytest.mark.slow
def test_whole_run_watched_while_it_trains(folder, tmp_path):
    environment = {
        **os.environ, "PYTHON": sys.executable, "SAVE_AT": "5,40,160", "WATCH_TIMEOUT": "60",
    }  # fmt: skip
    options = ["--num-images", "100", "--weights", "untrained", "--dims", "64"]
    command = [EXAMPLE / "run", folder, tmp_path / "out", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/run/results.csv").read_text().splitlines()
    values = [float(row["fid"]) for row in csv.DictReader(table)]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3
    assert (tmp_path / "out/report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_score_inside_the_training_is_that_of_compare(run, tmp_path):
    checkpoints, network = tmp_path / "checkpoints", ("--weights", "untrained", "--dims", "64")
    data = ("tfds:pictures/train", checkpoints)
    said = run(EXAMPLE / "train.py", *data, "--save-at", "2", "--score", "100", *network)
    run(
        "-m", "jaxfid", "compare", "tfds:pictures/train", "--sampler", "flow:make_sample",
        "--checkpoints", checkpoints, "--value-range=-1..1", "--num-images", "100",
        "--out", tmp_path / "run", *network,
    )  # fmt: skip
    inside = float(re.search(r"fid ([\d.]+)", said)[1])
    (row,) = csv.DictReader((tmp_path / "run/results.csv").read_text().splitlines())
    # Printed with six digits; and one pixel in many may round otherwise.
    assert float(row["fid"]) == pytest.approx(inside, rel=1e-3)


@pytest.mark.slow
def test_three_training_seeds_are_replicates_of_one_model(run, tmp_path):
    for seed in range(3):
        checkpoints = tmp_path / f"runs/seed{seed}"
        saved = ("--save-at", "10,80", "--seed", seed)
        run(EXAMPLE / "train.py", "tfds:pictures/train", checkpoints, *saved)
    said = run(
        "-m", "jaxfid", "compare", "tfds:pictures/train", "--sampler", "flow:make_sample",
        "--checkpoints", tmp_path / "runs/seed*", "--value-range=-1..1", "--num-images", "200",
        "--out", tmp_path / "run", "--weights", "untrained", "--dims", "64",
    )  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "run/results.csv").read_text().splitlines()))
    assert sorted(row["step"] for row in rows) == ["10"] * 3 + ["80"] * 3
    assert len({row["fid"] for row in rows}) == 6
    models = re.findall(r"^step (10|80) +3 training seeds +([\d.]+) \+- [\d.]+", said, re.M)
    means = {step: float(value) for step, value in models}
    for step, mean in means.items():
        values = [float(row["fid"]) for row in rows if row["step"] == step]
        # Printed to the first two digits of its error.
        assert mean == pytest.approx(np.mean(values), rel=0.02)
    assert means["80"] < means["10"]
