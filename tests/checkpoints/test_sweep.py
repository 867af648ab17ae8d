"""Sweeps: each combination a row, loaded no more often than need be, resumed singly."""

import csv
import functools
import json
import os
import sys
import threading
import time

import jax
import numpy as np
import pytest

from jaxfid.checkpoints.compare import compare_checkpoints
from jaxfid.checkpoints.find import find_checkpoints
from jaxfid.checkpoints.sampler_arguments import ConfiguredSampler
from jaxfid.checkpoints.sweep import check_sweep, combine
from jaxfid.checkpoints.watch import Watch
from jaxfid.errors import InputError
from jaxfid.report.models import find_models
from jaxfid.report.run_folder import RunFolder
from tests.checkpoints.runs import write_run
from tests.tiny import TINY

SIDE = 12
REFERENCE = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
LOADED, DRAWN = [], []


def make_sample(path, ema=0.5):
    """Noise, the darker the larger the number in the checkpoint, `ema` and `cfg`."""
    LOADED.append((path.name, ema))
    level = float(path.read_text())

    def sample(key, n, cfg=0.0):
        DRAWN.append((path.name, ema, cfg))
        if cfg == 9:
            raise ValueError("no such guidance")
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return rng.random((n, SIDE, SIDE, 3), np.float32) * (1 - level) * (1 - ema / 10) / (1 + cfg)

    return sample


STRENGTH = 0.5


def make_of_surroundings(path, more=0.0):
    """The same, its guidance taken from wherever people keep it."""
    cfg = more + STRENGTH + float(os.environ.get("CK_STRENGTH", "0"))
    return functools.partial(make_sample(path), cfg=cfg)


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", {1: 0.5, 2: 0.0})


def compare(checkpoints, out, sampler=make_sample, **options):
    LOADED.clear(), DRAWN.clear()
    drawing = {"num_images": 8, "chunk_size": 4, "value_range": (0, 1), "devices": 1}
    return compare_checkpoints(
        REFERENCE, checkpoints, sampler, out=out, extractor=TINY, **drawing | options
    )


def value(entry):
    return entry.scores.metrics["fd_tiny"].value


GRID = {"cfg": [0.0, 0.5], "ema": [0.1, 0.2]}


def test_each_combination_is_a_row_with_its_settings_as_columns(folder, tmp_path):
    entries = compare([folder], tmp_path / "out", sweep=GRID)
    assert [(e.step, *e.swept.values()) for e in entries] == [
        (step, cfg, ema) for step in (1, 2) for cfg in (0.0, 0.5) for ema in (0.1, 0.2)
    ]
    assert entries[3].name == "step1.msgpack cfg=0.5 ema=0.2"
    # A row is what the same settings give alone.
    alone = compare([folder], tmp_path / "alone", sampler_args={"cfg": 0.5, "ema": 0.2})
    assert [value(entry) for entry in alone] == [value(entries[3]), value(entries[7])]
    rows = list(csv.DictReader((tmp_path / "out/results.csv").read_text().splitlines()))
    assert [(row["cfg"], row["ema"]) for row in rows[:3]] == [
        ("0", "0.1"),
        ("0", "0.2"),
        ("0.5", "0.1"),
    ]
    found = json.loads((tmp_path / "out/results.json").read_text())
    assert found["results"][3]["swept"] == {"cfg": 0.5, "ema": 0.2}
    assert RunFolder(tmp_path / "out").entries[3].swept == {"cfg": 0.5, "ema": 0.2}


def test_a_checkpoint_is_loaded_once_for_all_values_of_a_call(folder, tmp_path):
    compare([folder], tmp_path / "out", sweep=GRID, noise_seeds=[0, 1])
    assert [(f"step{step}.msgpack", ema) for step in (1, 2) for ema in (0.1, 0.2)] == LOADED
    assert len({*DRAWN}) == 8


def test_rows_are_resumed_singly_and_values_may_be_added(folder, tmp_path):
    out = tmp_path / "out"
    before = compare([folder], out, sweep={"cfg": [0.5]})
    entries = compare([folder], out, sweep={"cfg": [0.5, 0.25]})
    assert {cfg for *_, cfg in DRAWN} == {0.25}
    assert [entry.swept["cfg"] for entry in entries] == [0.25, 0.5, 0.25, 0.5]
    assert [value(entry) for entry in entries[1::2]] == [value(entry) for entry in before]
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    (out / "results.jsonl").write_text("".join(lines[1:]))
    assert len(compare([folder], out, sweep={"cfg": [0.5, 0.25]})) == 4
    assert {*DRAWN} == {("step1.msgpack", 0.5, 0.5)}
    # 1 and 1.0 are one guidance.
    compare([folder], out, sweep={"cfg": [1]})
    compare([folder], out, sweep={"cfg": [1.0]})
    assert DRAWN == []


def test_other_axes_and_other_arguments_are_another_comparison(folder, tmp_path):
    out = tmp_path / "out"
    compare([folder], out, sweep={"cfg": [0.5]}, sampler_args={"ema": 0.1})
    with pytest.raises(InputError, match=r"sampler argument ema was 0\.1, is 0\.2"):
        compare([folder], out, sweep={"cfg": [0.5]}, sampler_args={"ema": 0.2})
    with pytest.raises(
        InputError, match=r'ema was 0\.1, is null; sweep over was \["cfg"\], is \["cfg", "ema"\]'
    ):
        compare([folder], out, sweep={"cfg": [0.5], "ema": [0.1]})
    with pytest.raises(InputError, match=r"sampler argument ema was 0\.1, is null; sweep over"):
        compare([folder], out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda patch: patch.setenv("CK_STRENGTH", "0.5"),
            "sampler environment CK_STRENGTH was null, is",
        ),
        (
            lambda patch: patch.setattr(sys.modules[__name__], "STRENGTH", 1.0),
            r"sampler global tests\.checkpoints\.test_sweep\.STRENGTH was 0\.5, is 1\.0",
        ),
        (
            lambda patch: functools.partial(make_of_surroundings, more=0.5),
            r"sampler arguments more was null, is 0\.5",
        ),
    ],
)
def test_the_same_folder_never_gives_scores_of_another_guidance(
    folder, tmp_path, monkeypatch, change, message
):
    compare([folder], tmp_path / "out", make_of_surroundings)
    other = change(monkeypatch) or make_of_surroundings
    with pytest.raises(InputError, match=f"holds another comparison: {message}"):
        compare([folder], tmp_path / "out", other)


def test_runs_and_noises_are_replicates_within_a_combination(tmp_path):
    for seed, level in enumerate((0.5, 0.52)):
        write_run(tmp_path / f"seed{seed}", {10: level})
    entries = compare(
        [f"{tmp_path}/seed*"], tmp_path / "out", sweep={"cfg": [0.0, 0.5]}, noise_seeds=[0, 1]
    )
    models = find_models(entries)
    assert [(model.name, len(model.entries)) for model in models] == [
        ("step 10 cfg=0", 4), ("step 10 cfg=0.5", 4),
    ]  # fmt: skip
    assert {entry.swept["cfg"] for entry in models[1].entries} == {0.5}
    assert models[0].summarise("fd_tiny").seeds == "training seeds"


def test_a_combination_that_fails_is_a_row_and_the_others_go_on(folder, tmp_path):
    entries = compare([folder], tmp_path / "out", sweep={"cfg": [9, 0.5]})
    assert [entry.scores is None for entry in entries] == [False, True, False, True]
    assert (
        "at step1.msgpack cfg=9: called as sample(key, 4): ValueError: no such"
        in entries[1].failure
    )


def test_watching_draws_all_combinations_of_what_comes_and_frees_memory_between(
    tmp_path, monkeypatch
):
    folder, out, released = tmp_path / "run", tmp_path / "out", []
    release = ConfiguredSampler.release
    monkeypatch.setattr(
        ConfiguredSampler, "release", lambda self: (released.append(len(LOADED)), release(self))
    )

    def train():
        time.sleep(0.2)
        write_run(folder, {1: 0.5})
        while not out.exists() or len(RunFolder(out).entries) < 2:
            time.sleep(0.05)
        write_run(folder, {2: 0.3})

    training = threading.Thread(target=train)
    training.start()
    watch = Watch(timeout_s=3, poll_s=0.05, settle_s=0.1)
    entries = compare([folder], out, sweep={"cfg": [0.0, 0.5]}, watch=watch)
    training.join()
    assert [(entry.step, entry.swept["cfg"]) for entry in entries] == [
        (1, 0),
        (1, 0.5),
        (2, 0),
        (2, 0.5),
    ]
    assert len(LOADED) == 2
    assert {1, 2} <= {*released}


def test_what_a_sampler_makes_varies_slowest():
    found = combine(check_sweep({"cfg": [1, 2], "ema": [3, 4]}), ["ema"])
    assert [(of["ema"], of["cfg"]) for of in found] == [(3, 1), (3, 2), (4, 1), (4, 2)]
    assert [*found[0]] == ["cfg", "ema"]  # named as the user wrote it


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"step": [1]}, "sweep: expected the name of an argument"),
        ({"a b": [1]}, "sweep: expected the name of an argument"),
        ({"cfg": []}, "sweep: cfg: expected a list of values"),
        ({"cfg": "12"}, "sweep: cfg: expected a list of values"),
        ({"cfg": [[1]]}, "sweep: cfg: expected numbers, text, true, false or null"),
        ({"cfg": [float("nan")]}, "sweep: cfg: expected numbers"),
        ({"cfg": [1, 1.0]}, "sweep: cfg: expected each value once, found 1, 1"),
    ],
)
def test_sweeps_that_cannot_be_meant_are_refused(sweep, message):
    with pytest.raises(InputError, match=message):
        check_sweep(sweep)


def needs_config(path, config, *, steps=4):
    return make_sample(path)


def takes_all(path, **more):
    assert more == {"cfg": 0.5}
    return make_sample(path)


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (needs_config, {}, "needs besides the path: missing a required argument: 'config'"),
        (
            make_sample,
            {"sampler_args": {"cgf": 1}},
            r"takes cgf; they take ema, cfg; did you mean cfg\?",
        ),
        (make_sample, {"sweep": {"n": [1]}}, "takes n; they take ema, cfg"),
        (make_sample, {"sweep": {"ema": [1]}, "sampler_args": {"ema": 1}}, "sweep: ema: expected no"),
        (make_sample, {"sampler_args": {"ema": object()}}, "found ema of type object; give sampler_id"),
    ],
)  # fmt: skip
def test_arguments_that_are_not_taken_end_in_one_sentence_before_work(
    folder, tmp_path, monkeypatch, sampler, options, message
):
    monkeypatch.setattr("jaxfid.checkpoints.run.Series._see_reference", lambda *_: pytest.fail())
    with pytest.raises(InputError, match=message):
        compare([folder], tmp_path / "out", sampler, **options)
    assert DRAWN == []


def test_a_sampler_that_takes_any_name_gets_all(folder, tmp_path):
    compare([folder], tmp_path / "out", takes_all, sampler_args={"cfg": 0.5})
    assert {cfg for *_, cfg in DRAWN} == {0.0}


def test_arguments_reach_a_jitted_and_a_partial_function(folder):
    seen = []

    @jax.jit
    def draw(params, key, cfg=1.0):
        seen.append(cfg)
        return params + cfg

    def make(path):
        return lambda key, n, *, cfg: draw(3.0, key, cfg=cfg)

    checkpoint = find_checkpoints([folder])[0]
    configured = ConfiguredSampler(make, {"cfg": 2.0})
    assert float(configured.at(checkpoint)(checkpoint.path)(jax.random.key(0), 1)) == 5
    assert len(seen) == 1
