"""Finding checkpoints as the libraries that people train with write them."""

import os
import time
import warnings
from pathlib import Path

import flax
import fsspec
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from flax.training import checkpoints as flax_checkpoints
from safetensors.numpy import save_file

from jaxfid.checkpoints.find import Checkpoint, find_checkpoints, find_sets
from jaxfid.checkpoints.watch import Settling
from jaxfid.errors import InputError
from jaxfid.storage.paths import as_path

PARAMS = {"w": np.ones(3, np.float32)}


def names(*paths: Path) -> list[str]:
    return [checkpoint.name for checkpoint in find_checkpoints(paths)]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


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


def test_checkpoints_of_several_runs_are_matched_by_step(tmp_path):
    write(tmp_path, *(f"seed{seed}/step{step}.msgpack" for seed in (0, 1) for step in (5, 10)))
    found = find_checkpoints([tmp_path / "seed0", tmp_path / "seed1"])
    runs = [str(tmp_path / f"seed{seed}") for seed in (0, 1)]
    assert [(c.step, c.run) for c in found] == [
        (5, runs[0]),
        (5, runs[1]),
        (10, runs[0]),
        (10, runs[1]),
    ]
    assert {c.run for c in find_checkpoints([tmp_path / "seed0"])} == {None}


def test_runs_may_call_their_checkpoints_by_other_names_and_be_named_by_a_pattern(tmp_path):
    write(tmp_path, "seed0/step5-a.msgpack", "seed1/step5-b.msgpack", "seed1/step9.msgpack")
    found = find_checkpoints([f"{tmp_path}/seed*"])
    assert [(c.name, c.run) for c in found] == [
        ("step5-a.msgpack", f"{tmp_path}/seed0"),
        ("step5-b.msgpack", f"{tmp_path}/seed1"),
        ("step9.msgpack", f"{tmp_path}/seed1"),
    ]
    with pytest.raises(InputError, match=r"none at .*other\*"):
        find_checkpoints([f"{tmp_path}/other*"])


def test_folders_without_a_step_in_common_are_one_run_and_sets_are_no_runs(tmp_path):
    write(tmp_path, "first/step5.msgpack", "second/step9.msgpack", "a/set/1.png", "b/set/1.png")
    assert {c.run for c in find_checkpoints([tmp_path / "first", tmp_path / "second"])} == {None}
    sets = find_sets([tmp_path / "a/set", tmp_path / "b/set"])
    # Of sets nobody says that they are one model's.
    assert [(c.name, c.run) for c in sets] == [(f"{tmp_path}/{name}/set", None) for name in "ab"]


def test_paths_that_do_not_exist_are_all_named(tmp_path):
    with pytest.raises(InputError, match=r"none at .*a, .*b"):
        find_checkpoints([tmp_path / "a", tmp_path, tmp_path / "b"])
    assert find_checkpoints([tmp_path]) == []


def test_metric_in_a_name_is_no_step(tmp_path):
    for step, loss in ((100, 0.90), (200, 0.50), (300, 0.35)):
        (tmp_path / f"checkpoint_{step}-loss{loss}.safetensors").write_bytes(b"x")
    assert [c.step for c in find_checkpoints([tmp_path])] == [100, 200, 300]


def test_folders_beside_the_steps_are_no_checkpoints(tmp_path):
    files = ("100/_CHECKPOINT_METADATA", "200/_CHECKPOINT_METADATA", "wandb-2024/x", "plots3/x.png")
    write(tmp_path, *files)
    assert names(tmp_path) == ["100", "200"]


def test_folders_of_users_are_known_by_their_names_or_by_what_they_hold(tmp_path):
    write(
        tmp_path, "step_3/params.bin", "7/params.bin", "run-9/model.safetensors", "run-10/notes.txt"
    )
    write(tmp_path, "params/model.safetensors", "my_ckpt-11/x")
    assert names(tmp_path) == ["step_3", "7", "run-9", "my_ckpt-11"]


def test_folder_that_is_itself_a_checkpoint_may_be_named(tmp_path):
    write(tmp_path, "checkpoint-5/model.safetensors", "checkpoint-6/model.safetensors")
    found = find_checkpoints(sorted(tmp_path.glob("checkpoint-*")))
    assert [(c.name, c.step) for c in found] == [("checkpoint-5", 5), ("checkpoint-6", 6)]
    # A run's folder may be called like a step: what lies in it decides.
    write(tmp_path, "ckpt_2/10/_CHECKPOINT_METADATA", "ckpt_2/20/_CHECKPOINT_METADATA")
    assert names(tmp_path / "ckpt_2") == ["10", "20"]


def test_files_of_one_model_are_one_checkpoint(tmp_path):
    write(tmp_path, *(f"step7-0000{i}-of-00003.safetensors" for i in (1, 2, 3)))
    write(tmp_path, *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)))
    write(tmp_path, "model.safetensors.index.json", "late-00001-of-00002.safetensors")
    first, second = find_checkpoints([tmp_path])
    assert (first.name, first.step) == ("step7.safetensors", 7)
    assert first.path.name == "step7-00001-of-00003.safetensors"
    assert (second.name, second.step) == ("model.safetensors", None)
    assert second.path.name == "model.safetensors.index.json"
    before = second.stamp()
    (tmp_path / "model-00003-of-00003.safetensors").write_bytes(b"again")
    assert second.stamp() != before


def test_orbax_names_without_a_step(tmp_path):
    for name in ("best", "latest"):
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / name, PARAMS)
    assert names(tmp_path) == ["best", "latest"]


def test_orbax_on_buckets_commits_by_a_file(tmp_path):
    write(tmp_path, "1/_CHECKPOINT_METADATA", "1/commit_success.txt", "2/_CHECKPOINT_METADATA")
    assert names(tmp_path) == ["1"]
    assert find_checkpoints([tmp_path / "2"])  # by itself it may be a copy of a local one


def test_flax_files_with_a_prefix_are_known_by_their_beginning(tmp_path):
    (tmp_path / "ema_100").write_bytes(serialization.to_bytes(PARAMS))
    (tmp_path / "slurm_200").write_text("log")
    (tmp_path / "empty_300").touch()
    assert [(c.name, c.step) for c in find_checkpoints([tmp_path])] == [("ema_100", 100)]


def test_pattern_says_which_are_the_checkpoints_and_what_their_steps(tmp_path):
    write(tmp_path, "net-7-of-9.pt", "net-8-of-9.pt", "net-best.msgpack", "old-3-of-9.pt/x")
    found = find_checkpoints([tmp_path], r"-(\d+)-of-")
    assert [(c.step, c.name) for c in found] == [
        (3, "old-3-of-9.pt"), (7, "net-7-of-9.pt"), (8, "net-8-of-9.pt"),
    ]  # fmt: skip
    (best,) = find_checkpoints([tmp_path / "net-best.msgpack"], r"-(\d+)-of-")
    assert best.step is None
    assert [c.step for c in find_sets([tmp_path / "net-7-of-9.pt"], r"of-(?P<step>\d)")] == [9]


def test_bucket():
    system = fsspec.filesystem("memory")
    for name in ("10/_CHECKPOINT_METADATA", "9/_CHECKPOINT_METADATA", "wandb-3/x", "x5.msgpack"):
        system.pipe_file(f"/find/{name}", b"{}")
    found = find_checkpoints(["memory://find"])
    assert [(c.step, str(c.path)) for c in found] == [
        (5, "memory://find/x5.msgpack"), (9, "memory://find/9"), (10, "memory://find/10"),
    ]  # fmt: skip
    before = found[1].stamp()
    assert found[1].stamp() == before
    system.pipe_file("/find/9/_CHECKPOINT_METADATA", b"{   }")
    assert found[1].stamp() != before
    system.rm("/find", recursive=True)
    assert found[1].stamp() is None


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
    assert not checkpoint.is_settled(60.0)
    os.utime(checkpoint.path, (0, time.time() - 61))
    assert checkpoint.is_settled(60.0)


def test_checkpoint_from_the_future_settles_once_it_was_seen_unchanged(tmp_path, monkeypatch):
    (tmp_path / "1.msgpack").write_bytes(b"x")
    future = time.time() + 1000
    os.utime(tmp_path / "1.msgpack", (future, future))
    (checkpoint,) = find_checkpoints([tmp_path])
    now = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    settling = Settling(10.0)
    assert not settling.is_settled(checkpoint)
    now[0] += 9
    assert not settling.is_settled(checkpoint)
    os.utime(checkpoint.path, (future, future + 1))
    now[0] += 2
    assert not settling.is_settled(checkpoint)  # it has just changed
    now[0] += 10
    assert settling.is_settled(checkpoint)
    checkpoint.path.unlink()
    assert not settling.is_settled(checkpoint)


def test_checkpoint_that_is_gone():
    gone = Checkpoint("1", 1, as_path("no/such/1"))
    assert not gone.is_settled(0.0)
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
