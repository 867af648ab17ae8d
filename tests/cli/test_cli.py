"""The command line end to end: scores, files, exit codes, and what is said where."""

import json
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

import jaxfid
from jaxfid.cli.logs import to_entry
from jaxfid.result import Result
from tests.commands import offline, run_jaxfid

UNTRAINED = ("--weights", "untrained", "--dims", "64")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A reference and a generated folder of 100 pictures of mixed sizes, one of them not readable."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for name, contrast in (("real", 255), ("fake", 160)):
        (root / name).mkdir()
        for i in range(100):
            shape = (*rng.integers(20, 60, 2), 3)
            pixels = rng.integers(0, contrast, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:03}.png")
    (root / "fake" / "099.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def scored(folders):
    path = folders / "result.json"
    done = run_jaxfid(
        "score", folders / "real", folders / "fake", folders / "real", *UNTRAINED,
        "--on-error", "skip", "--json", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, Result.from_json(path.read_text())


def test_a_line_per_set_on_stdout_and_talk_on_stderr(folders, scored):
    done, result = scored
    fake, real, comparison = done.stdout.splitlines()
    value = result.results[0].metrics["fid"]
    assert fake == f"{folders / 'fake'}: fid (legacy_tensorflow, 64) {value}, 99 images, 1 skipped"
    assert real.startswith(f"{folders / 'real'}: fid (legacy_tensorflow, 64) ")
    assert "more than chance" in comparison
    assert "untrained are not the official weights: these values are no FIDs" in done.stderr
    assert "skipped 099.png: " in done.stderr


def test_json_says_what_each_number_is(scored):
    _, result = scored
    assert result.protocol == {"name": "legacy_tensorflow", "dims": 64, "precision": "float32"}
    assert result.weights["name"] == "untrained"
    assert result.weights["official"] is False
    assert len(result.weights["sha256"]) == 64
    assert result.environment["versions"]["jaxfid"]
    fake, real = result.results
    assert (fake.num_images, real.num_images, result.reference["num_images"]) == (99, 100, 100)
    assert [s["key"] for s in fake.skipped] == ["099.png"]
    assert fake.metrics["fid"].stderr > 0
    # a set against itself: zero to the float64 rounding of its traces
    assert real.metrics["fid"].value == pytest.approx(0, abs=1e-9)
    assert fake.metrics["fid"].value > 1e-3


def test_statistics_stand_for_their_images(folders, scored, tmp_path):
    _, result = scored
    stats = tmp_path / "real.npz"
    done = run_jaxfid("stats", folders / "real", "-o", stats, *UNTRAINED[:4], "--metrics", "fid")
    assert done.returncode == 0, done.stderr
    done = run_jaxfid(
        "score",
        stats,
        folders / "fake",
        *UNTRAINED,
        "--on-error",
        "skip",
        "--verify",
        "--json",
        "-",
    )
    assert done.returncode == 0, done.stderr
    again = Result.from_json(done.stdout).results[0].metrics["fid"]
    # the same sums from the same batches; SciPy's square root has its own rounding
    assert again.value == pytest.approx(result.results[0].metrics["fid"].value, rel=1e-9)
    assert again.checked == pytest.approx(again.value, rel=1e-6)
    refused = run_jaxfid("score", stats, folders / "fake", *UNTRAINED, "--protocol", "clean")
    assert refused.returncode == 2
    assert "protocol clean against legacy_tensorflow" in refused.stderr


def test_a_file_that_cannot_be_read_ends_the_run(folders):
    done = run_jaxfid("score", folders / "real", folders / "fake", *UNTRAINED)
    assert done.returncode == 2
    assert "099.png" in done.stderr
    assert done.stdout == ""


def test_without_weights_the_exit_is_3_with_three_ways_out(folders, tmp_path):
    done = run_jaxfid("score", folders / "real", folders / "real", **offline(tmp_path))
    assert done.returncode == 3
    for way in ("jaxfid weights import", "--weights PATH", "--weights untrained"):
        assert way in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("score", "nowhere", "nowhere"), "nowhere: expected a folder"),
        (("score", ".", ".", "--limit", "0"), "limit: expected at least 1"),
        (("score", ".", ".", "--metrics", "lpips"), "metrics: expected names out of"),
        (("score", ".", ".", "--json", "no/such/folder/r.json"), "expected a file in a folder"),
        (("score", "only-one"), "expected generated, found nothing"),
        (("weights", "import", "nowhere.pth"), "nowhere.pth"),
    ],
)
def test_wrong_usage_is_exit_2_and_names_the_fault(arguments, words):
    done = (
        run_jaxfid(*arguments, "--weights", "untrained")
        if arguments[0] == "score"
        else (run_jaxfid(*arguments))
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_status_names_what_is_missing(tmp_path):
    done = run_jaxfid("weights", "status", **offline(tmp_path))
    assert done.returncode == 0
    assert "not here" in done.stdout
    assert json.dumps(str(tmp_path))[1:-1] in done.stdout


def test_version_names_all_that_a_report_of_a_fault_needs(tmp_path):
    done = run_jaxfid("--version", **offline(tmp_path))
    assert done.returncode == 0
    ours, python, jax, devices, weights = done.stdout.splitlines()
    assert ours == f"jaxfid {jaxfid.__version__}"
    assert python.startswith("Python   3.")
    assert jax.startswith(f"JAX      {metadata.version('jax')}, jaxlib ")
    assert devices.startswith("devices  ") and " of cpu (cpu)" in devices
    assert "is not here; jaxfid weights download" in weights


def test_sets_whose_names_tell_steps_are_one_curve():
    metrics = {"fid": jaxfid.MetricValue(1.0)}
    names = ["samples_100/", "samples_200/"]
    entries = [to_entry(jaxfid.SetResult(name, 5, metrics), names) for name in names]
    assert [(entry.step, entry.run) for entry in entries] == [(100, None), (200, None)]
    names = ["a/", "samples_200/"]
    entries = [to_entry(jaxfid.SetResult(name, 5, metrics), names) for name in names]
    assert [(entry.step, entry.run) for entry in entries] == [(0, "a/"), (0, "samples_200/")]
