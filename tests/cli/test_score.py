"""How `score` is told its sets, and how many of their images."""

import argparse
import json
import pathlib

import numpy as np
import pytest

from jaxfid.cli import main, score
from jaxfid.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three sets in the current folder; JAX has long been started in this process."""
    for name, count in (("real", 20), ("a", 12), ("b", 9)):
        np.save(tmp_path / f"{name}.npy", RNG.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxfid.cli.score.start_jax", lambda *_: None)
    return tmp_path


def parse(*arguments):
    parser = argparse.ArgumentParser()
    score.add_arguments(parser)
    options = parser.parse_args(arguments)
    options.check(options)
    return options.reference, options.generated


@pytest.mark.parametrize(
    "arguments",
    [
        ("R", "A", "B"),
        ("R", "--metrics", "fid", "A", "B"),
        ("--reference", "R", "--generated", "A", "B"),
        ("--generated", "A", "B", "--reference", "R"),
        ("A", "B", "--reference", "R"),
        ("--reference", "R", "A", "B"),
        ("R", "--generated", "A", "B"),
    ],
)
def test_sets_are_told_by_place_or_by_name(arguments):
    assert parse(*arguments) == ("R", ["A", "B"])


@pytest.mark.parametrize("arguments", [("--reference", "R"), ("--generated", "A")])
def test_one_side_alone_is_refused(arguments):
    with pytest.raises(InputError, match=f"expected a reference .* found {arguments[1]} alone"):
        parse(*arguments)


def test_nothing_at_all_is_a_usage_error(capsys):
    with pytest.raises(SystemExit):
        parse()
    assert "required: reference, generated" in capsys.readouterr().err


def run(*arguments):
    code = main(["score", *arguments, "--extractor", "tests.tiny:make_tiny", "--json", "r.json"])
    return code, json.loads(pathlib.Path("r.json").read_text())


def test_exactly_so_many_images_of_each_generated_set_and_all_of_the_reference(files):
    code, result = run("real.npy", "a.npy", "b.npy", "--num-images", "9", "--seed", "3")
    assert code == 0
    assert [scored["num_images"] for scored in result["results"]] == [9, 9]
    assert result["reference"]["num_images"] == 20
    _, limited = run("real.npy", "a.npy", "--limit", "9", "--seed", "3")
    assert limited["reference"]["num_images"] == 9


def test_fewer_images_are_an_error(files, capsys):
    arguments = ["score", "real.npy", "a.npy", "b.npy", "--extractor", "tests.tiny:make_tiny"]
    assert main([*arguments, "--num-images", "10"]) == 2
    assert "num_images: expected 10 images of b.npy, found 9" in capsys.readouterr().err
    assert main([*arguments, "--num-images", "5", "--limit", "5"]) == 2
    assert "limit, num_images: expected one of them" in capsys.readouterr().err


def test_the_mirrored_reference_is_each_image_and_its_mirror(files):
    real = np.load("real.npy")
    np.save("doubled.npy", np.concatenate([real, real[:, :, ::-1]]))
    _, mirrored = run("real.npy", "a.npy", "--xflip", "--metrics", "fd,kd")
    _, expected = run("doubled.npy", "a.npy", "--metrics", "fd,kd")
    for name, metric in expected["results"][0]["metrics"].items():
        assert mirrored["results"][0]["metrics"][name]["value"] == metric["value"]
    assert mirrored["reference"]["name"] == "real.npy, each image and its mirror"
    assert mirrored["reference"]["num_images"] == 40
    assert any("1.4 times too small" in w for w in mirrored["results"][0]["warnings"])
    assert mirrored["results"][0]["num_images"] == 12
