"""The command `compare`, from its options to its table."""

import argparse
import csv
import importlib.util
import random
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from jaxfid.cli import main
from jaxfid.cli.compare import add_arguments as add_compare
from jaxfid.cli.compare import run as run_compare
from jaxfid.cli.processes import run_joined
from jaxfid.cli.sampler_options import parse_arguments, parse_axis
from jaxfid.errors import InputError
from tests.commands import latest_snapshot, run_jaxfid
from tests.noise_sampler import NOISE_SAMPLER

OPTIONS = (
    "--sampler", "drawing_module:make_sample", "--value-range=-1..1", "--chunk-size", "16",
    "--weights", "untrained", "--dims", "64", "--batch-size", "16",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A reference, checkpoints of which the second cannot be sampled, and a sampler."""
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "reference.npy", images)
    (tmp_path / "drawing_module.py").write_text(NOISE_SAMPLER)
    (tmp_path / "checkpoints").mkdir()
    for step, level in ((1, 0.5), (2, "nan"), (3, 0.0)):
        (tmp_path / f"checkpoints/step{step}.msgpack").write_text(str(level))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_table_on_stdout_and_talk_on_stderr(folder):
    arguments = ("compare", "reference.npy", *OPTIONS, "--num-images", "96", "--out", "run")
    done = run_jaxfid(*arguments, "--checkpoints", "checkpoints", "--tensorboard", "events")
    assert done.returncode == 1  # of the second there is no score
    start = "jaxfid: error: sampler drawing_module:make_sample at step2.msgpack: "
    assert f"{start}called as sample(key, 16): the sampler gave NaN" in done.stderr
    assert done.stderr.count("not the official weights") == 1
    assert "step1.msgpack: fid " in done.stderr
    head, *rows = (line.split() for line in done.stdout.splitlines())
    assert head == ["checkpoint", "FID", "FID", "-", "best"]
    assert [row[0] for row in rows] == ["step1", "step2", "step3"]
    assert rows[1][1:] == ["none"]
    assert rows[2][-1] == "best"
    table = read_csv(folder / "run")
    # Printed to the error's second digit.
    assert float(rows[0][1]) == pytest.approx(float(table[0]["fid"]), abs=float(rows[0][3]) / 10)
    assert [row["fid_conclusive"] for row in table] == ["True", "", ""]
    scalars = read_scalars(folder / "events")
    assert scalars["jaxfid/fid"] == {
        step: pytest.approx(float(table[step - 1]["fid"]), rel=1e-6) for step in (1, 3)
    }
    assert scalars["jaxfid/fid_stderr"].keys() == {1, 3}
    # Once more: nothing is left to do but the one that failed, which is as it was.
    (folder / "checkpoints/step2.msgpack").write_text("0.2")
    done = run_jaxfid(*arguments, "--checkpoints", "checkpoints")
    assert done.returncode == 0, done.stderr
    assert "step2.msgpack: fid" in done.stderr
    assert "step1.msgpack: fid" not in done.stderr


def read_csv(run):
    return list(csv.DictReader((run / "results.csv").read_text().splitlines()))


def read_scalars(folder):
    """TensorBoard's scalars by name and step, read from its event files."""
    scalars = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
            data = data[16 + length :]
    return scalars


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected either --checkpoints with --sampler, or --samples"),
        (("--checkpoints", "c", "--samples", "s"), "expected either --checkpoints"),
        (("--checkpoints", "c"), "sampler: expected module:function beside --checkpoints"),
        (
            ("--samples", "s", "--num-images", "9", "--watch"),
            "--num-images, --watch: these are for",
        ),
        (
            ("--checkpoints", "c", "--sampler", "m:f", "--limit", "3"),
            "expected --num-images beside",
        ),
        (("--samples", "s", "--chunk-size", "0"), "--chunk-size: these are for"),
        (("--samples", "s", "--fail-fast"), "--fail-fast: these are for"),
        (("--samples", "s", "--noise-seeds", "0,1"), "--noise-seeds: these are for"),
        (("--samples", "s", "--sweep", "a=1", "--labels", "x"), "--sweep, --labels: these are for"),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    parser = argparse.ArgumentParser()
    add_compare(parser)
    with pytest.raises(InputError, match=message):
        run_joined(run_compare, parser.parse_args(["reference", "--out", "run", *arguments]))


def test_options_of_checkpoints_are_passed_on(monkeypatch, capsys):
    given = []
    monkeypatch.setattr(
        "jaxfid.checkpoints.compare.compare_checkpoints",
        lambda *_, **more: given.append(more) or [],
    )
    # JAX has long been started in this process.
    monkeypatch.setattr("jaxfid.cli.compare.start_jax", lambda *_: None)
    start = ["compare", "r", "--checkpoints", "c", "--sampler", "m:f", "--out", "o"]
    options = ["--fail-fast", "--step-pattern", "s(.)", "--noise-seeds", "3,1"]
    options += [
        "--sampler-args",
        '{"config": "x.yaml"}',
        "--sampler-args",
        "steps=4,ema=0.5,name=a",
    ]
    options += ["--sweep", "cfg=1.0,1.5", "--sweep", "mode=fast,slow", "--labels", "balanced:10"]
    options += ["--sampler-id", "mine"]
    assert main([*start, *options]) == 0
    assert main(start) == 0
    expected = {
        "fail_fast": True,
        "step_pattern": "s(.)",
        "noise_seeds": [3, 1],
        "sampler_args": {"config": "x.yaml", "steps": 4, "ema": 0.5, "name": "a"},
        "sweep": {"cfg": [1.0, 1.5], "mode": ["fast", "slow"]},
        "labels": "balanced:10",
        "sampler_id": "mine",
    }
    assert {name: given[0][name] for name in expected} == expected
    assert not {"noise_seeds", "sampler_args", "sweep", "labels", "num_images"} & given[1].keys()
    for word in ("nan", "-inf", "Infinity"):
        with pytest.raises(SystemExit):
            main([*start, "--sweep", f"cfg=1,{word}"])
        assert f"expected finite numbers or text, found {word}" in capsys.readouterr().err
    assert main([*start, "--sweep", "cfg=1", "--sweep", "cfg=2"]) == 2
    assert "sweep: expected cfg once, found it twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": 1}),
        ("a=1.5,b=true,c=null,d=x y,e=", {"a": 1.5, "b": True, "c": None, "d": "x y", "e": ""}),
        ("a=nano,b=k=v", {"a": "nano", "b": "k=v"}),
        (' {"a": "x,y", "b": [1, 2]}', {"a": "x,y", "b": [1, 2]}),
    ],
)
def test_arguments_of_a_sampler(text, expected):
    assert parse_arguments(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_arguments, "a", "expected NAME=VALUE,... or JSON, found 'a'"),
        (parse_arguments, "a=1,2", "expected NAME=VALUE,... or JSON"),
        (parse_arguments, "a=1,a=2", "expected each name once"),
        (parse_arguments, '{"a": 1', "expected JSON"),
        (parse_axis, "cfg", "expected NAME=VALUE,VALUE, found 'cfg'"),
        (parse_axis, "cfg=[1", "expected JSON"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused(parse, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(message)):
        parse(text)


def test_an_axis_with_commas_in_its_values_is_a_list_of_json():
    assert parse_axis('prompt=["a, b", "c"]') == {"prompt": ["a, b", "c"]}


def test_seeds_that_are_no_numbers_are_refused(capsys):
    start = ["compare", "r", "--checkpoints", "c", "--sampler", "m:f", "--out", "o"]
    with pytest.raises(SystemExit):
        main([*start, "--noise-seeds", "0,x"])
    assert "expected whole numbers with commas, found '0,x'" in capsys.readouterr().err


def test_tensorboard_that_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["compare", "r", "--samples", "s", "--out", "o", "--tensorboard", "t"]) == 2
    assert "pip install tensorboardX" in capsys.readouterr().err


@pytest.mark.slow
def test_run_killed_again_and_again_gives_the_values_of_a_whole_one(folder):
    (folder / "checkpoints/step2.msgpack").write_text("0.2")
    arguments = [
        "compare", "reference.npy", *OPTIONS, "--num-images", "400", "--checkpoints",
        "checkpoints", "--resume-every", "0", "--compile-cache", str(folder / "compiled"),
    ]  # fmt: skip
    whole = run_jaxfid(*arguments, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    draw, alive = random.Random(0), []
    for _ in range(5):
        before = latest_snapshot(folder / "run/progress")
        command = [sys.executable, "-m", "jaxfid", *arguments, "--out", "run"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and latest_snapshot(folder / "run/progress") == before:
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 1))
            alive.append(process.poll() is None)
            process.kill()
    assert sum(alive) > 2
    resumed = run_jaxfid(*arguments, "--out", "run")
    assert resumed.returncode == 0, resumed.stderr
    runs = [read_csv(folder / name) for name in ("run", "whole")]
    for killed, undisturbed in zip(*runs, strict=True):
        assert killed.keys() == undisturbed.keys()
        for name in ("fid", "fid_stderr"):  # their sums were added up in another order
            assert float(killed[name]) == pytest.approx(float(undisturbed[name]), rel=1e-9)


def test_tensorboard_in_a_bucket_is_refused(capsys):
    arguments = ["compare", "ref", "--samples", "a", "--out", "run", "--tensorboard", "memory://tb"]
    assert main(arguments) == 2
    assert "tensorboard: expected a local folder, found memory://tb" in capsys.readouterr().err
