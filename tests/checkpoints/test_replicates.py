"""Checkpoints drawn from several noises, and several runs of one model, in one comparison."""

import jax
import numpy as np
import pytest

from jaxfid.checkpoints.compare import compare_checkpoints
from jaxfid.checkpoints.sweep import check_noise_seeds
from jaxfid.errors import InputError
from jaxfid.report.models import find_models
from jaxfid.report.run_folder import RunFolder
from tests.checkpoints.runs import write_run
from tests.tiny import TINY

SIDE = 12
REFERENCE = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
CALLS = []


def make_sample(path):
    """Noise, the darker the larger the number in the checkpoint."""
    CALLS.append(path.name)
    level = float(path.read_text())

    def sample(key, n):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return rng.random((n, SIDE, SIDE, 3), np.float32) * (1 - level)

    return sample


def compare(checkpoints, out, **options):
    drawing = {"num_images": 8, "chunk_size": 4, "value_range": (0, 1), "devices": 1}
    CALLS.clear()
    return compare_checkpoints(
        REFERENCE, checkpoints, make_sample, out=out, extractor=TINY, **drawing | options
    )


def value(entry):
    return entry.scores.metrics["fd_tiny"].value


def test_each_seed_is_one_noise_for_every_checkpoint_and_a_row_of_its_own(tmp_path):
    folder = write_run(tmp_path / "run", {1: 0.5, 2: 0.5, 3: 0.0})
    entries = compare([folder], tmp_path / "out", noise_seeds=[0, 7])
    assert [(e.step, e.noise_seed) for e in entries] == [
        (1, 0), (1, 7), (2, 0), (2, 7), (3, 0), (3, 7),
    ]  # fmt: skip
    assert entries[1].name == "step1.msgpack noise 7"
    # Two checkpoints of one content draw the same images within a seed, and others in the next.
    assert value(entries[0]) == value(entries[2]) and value(entries[1]) == value(entries[3])
    assert value(entries[0]) != value(entries[1])
    alone = compare([folder], tmp_path / "alone", seed=7)
    assert [value(e) for e in alone] == [value(e) for e in entries[1::2]]
    assert [m.summarise("fd_tiny").seeds for m in find_models(entries)] == ["noise seeds"] * 3


def test_rows_are_resumed_singly_and_seeds_may_be_added(tmp_path):
    folder, out = write_run(tmp_path / "run", {1: 0.5, 2: 0.0}), tmp_path / "out"
    compare([folder], out, noise_seeds=[0])
    assert len(CALLS) == 2
    assert len(compare([folder], out, noise_seeds=[0, 1])) == 4
    assert len(CALLS) == 2
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    (out / "results.jsonl").write_text("".join(lines[:-1]))
    assert len(compare([folder], out, noise_seeds=[0, 1])) == 4
    assert len(CALLS) == 1
    with pytest.raises(InputError, match='seed was "of each row", is 0'):
        compare([folder], out)


def test_runs_of_a_pattern_are_replicates_by_step(tmp_path):
    for seed, level in enumerate((0.5, 0.52, 0.48)):
        write_run(tmp_path / f"seed{seed}", {10: level, 20: level - 0.48})
    entries = compare([f"{tmp_path}/seed*/"], tmp_path / "out")
    ten, twenty = find_models(entries)
    assert [entry.run for entry in ten.entries] == [f"{tmp_path}/seed{seed}" for seed in range(3)]
    found = twenty.summarise("fd_tiny")
    assert (found.count, found.seeds) == (3, "training seeds")
    assert found.mean == pytest.approx(np.mean([value(e) for e in entries if e.step == 20]))
    # What was kept is what is read again.
    assert [entry.run for entry in RunFolder(tmp_path / "out").entries] == [e.run for e in entries]


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
def test_seeds_that_cannot_be_meant_are_refused(seeds):
    with pytest.raises(InputError, match="noise_seeds: expected different whole numbers from 0 on"):
        check_noise_seeds(seeds)


def test_a_seed_beside_noise_seeds_is_refused(tmp_path):
    with pytest.raises(InputError, match="seed: expected none beside noise_seeds"):
        compare([tmp_path], tmp_path / "out", noise_seeds=[0], seed=3)
