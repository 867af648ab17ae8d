"""Finding checkpoints as the libraries that people train with write them."""

import os
import time
import warnings
from pathlib import Path

import flax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from flax.training import checkpoints as flax_checkpoints
from safetensors.numpy import save_file

from jaxfid.checkpoints.find import Checkpoint, find_checkpoints, find_sets, find_step
from jaxfid.errors import InputError

PARAMS = {"w": np.ones(3, np.float32)}


def names(*paths: Path) -> list[str]:
    return [checkpoint.name for checkpoint in find_checkpoints(paths)]


def save_by_orbax(folder: Path, steps: list[int], **options) -> Path:
    options = ocp.CheckpointManagerOptions(**options)
    with ocp.CheckpointManager(folder, options=options) as manager:
        for step in steps:
            manager.save(step, args=ocp.args.StandardSave(PARAMS))
    return folder


def test_orbax_steps_are_sorted_by_number(tmp_path):
    folder = save_by_orbax(tmp_path / "run", [2, 30, 100])
    found = find_checkpoints([folder])
    assert [(c.step, c.name, c.path) for c in found] == [
        (step, str(step), folder / str(step)) for step in (2, 30, 100)
    ]


def test_orbax_steps_with_prefix_and_leading_zeros(tmp_path):
    folder = save_by_orbax(
        tmp_path / "run", [7, 12], step_prefix="ckpt", step_format_fixed_length=5
    )
    assert [(c.step, c.name) for c in find_checkpoints([folder])] == [
        (7, "ckpt_00007"),
        (12, "ckpt_00012"),
    ]


def test_one_orbax_checkpoint_by_its_own_path(tmp_path):
    folder = save_by_orbax(tmp_path / "run", [7, 12])
    assert names(folder / "12") == ["12"]
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "final", PARAMS)
    (found,) = find_checkpoints([tmp_path / "final"])
    assert (found.name, found.step) == ("final", None)


def test_orbax_checkpoints_being_written_are_left_out(tmp_path):
    folder = save_by_orbax(tmp_path / "run", [7])
    for name in ("8.orbax-checkpoint-tmp-1700000000", "9.orbax-checkpoint-tmp"):
        (folder / name).mkdir()
        (folder / name / "d").touch()
    (folder / "10").mkdir()  # as Orbax leaves it while it deletes one
    assert names(folder) == ["7"]


@pytest.mark.parametrize("by_orbax", [True, False])
def test_flax_save_checkpoint(tmp_path, by_orbax):
    orbax = ocp.PyTreeCheckpointer() if by_orbax else None
    with warnings.catch_warnings(), flax.config.temp_flip_flag("use_orbax_checkpointing", by_orbax):
        warnings.simplefilter("ignore")  # of deprecation, which is why such checkpoints are about
        for step in (5, 12):
            flax_checkpoints.save_checkpoint(
                tmp_path, PARAMS, step, keep=5, orbax_checkpointer=orbax
            )
    (tmp_path / "checkpoint_tmp").touch()
    assert names(tmp_path) == ["checkpoint_5", "checkpoint_12"]


def test_files_are_known_by_their_endings(tmp_path):
    for step in (300, 20):
        (tmp_path / f"step{step}.msgpack").write_bytes(serialization.to_bytes(PARAMS))
        save_file(PARAMS, tmp_path / f"ema-{step + 1}.safetensors")
    for name in ("best.msgpack", "config.json", "events.out.17", ".hidden7", "log5.txt"):
        (tmp_path / name).touch()
    expected = ["step20.msgpack", "ema-21.safetensors", "step300.msgpack", "ema-301.safetensors"]
    assert names(tmp_path) == [*expected, "best.msgpack"]


def test_paths_may_be_mixed_and_equal_names_are_told_apart(tmp_path):
    first = save_by_orbax(tmp_path / "first", [1, 2])
    second = save_by_orbax(tmp_path / "second", [2])
    (tmp_path / "x3.msgpack").touch()
    assert names(first, tmp_path / "x3.msgpack") == ["1", "2", "x3.msgpack"]
    assert names(first, second) == [str(path) for path in (first / "1", first / "2", second / "2")]
    with pytest.raises(InputError, match="checkpoints: expected each path once, found one twice"):
        names(first, first / "2")


def test_paths_that_do_not_exist_are_all_named(tmp_path):
    with pytest.raises(InputError, match=r"none at .*a, .*b"):
        find_checkpoints([tmp_path / "a", tmp_path, tmp_path / "b"])
    assert find_checkpoints([tmp_path]) == []


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("100", 100),
        ("epoch3-step1200.msgpack", 1200),
        ("ckpt_007", 7),
        ("best", None),
        ("v2.safetensors", 2),
    ],
)
def test_step_is_the_last_number(name, step):
    assert find_step(name) == step


def test_stamp_changes_when_a_checkpoint_is_written_again(tmp_path):
    (checkpoint,) = find_checkpoints([save_by_orbax(tmp_path / "run", [7])])
    before = checkpoint.stamp()
    assert checkpoint.stamp() == before
    file = next(path for path in sorted(checkpoint.path.rglob("*")) if path.is_file())
    os.utime(file, (time.time() + 5, time.time() + 5))
    assert checkpoint.stamp() != before


def test_checkpoint_settles_when_nothing_in_it_changes(tmp_path):
    (tmp_path / "1.msgpack").write_bytes(b"x")
    (checkpoint,) = find_checkpoints([tmp_path])
    assert not checkpoint.is_settled(60)
    os.utime(checkpoint.path, (0, time.time() - 61))
    assert checkpoint.is_settled(60)


def test_checkpoint_that_is_gone():
    gone = Checkpoint("1", 1, Path("no/such/1"))
    assert not gone.is_settled(0)
    assert gone.stamp() is None


def test_sets_sampled_before_are_the_paths_themselves(tmp_path):
    for name in ("step20", "step3.zip"):
        (tmp_path / name).mkdir()
    found = find_sets([tmp_path / "step20", str(tmp_path / "step3.zip")])
    assert [(c.name, c.step) for c in found] == [("step3.zip", 3), ("step20", 20)]
    with pytest.raises(
        InputError, match=r"samples: expected existing paths, found none at .*step4"
    ):
        find_sets([tmp_path / "step4"])
