"""Options of `score` that say which sets are one model."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from jaxfid.cli import main
from jaxfid.cli.replicates import add_replicates, chosen_replicates
from jaxfid.errors import InputError
from jaxfid.result import Result


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_replicates(parser)
    return parser.parse_args(arguments)


def test_groups_as_compute_metrics_takes_them():
    assert chosen_replicates(parse()) is None
    assert chosen_replicates(parse("--replicates-by", "(.)")) == "(.)"
    options = parse("--replicates", "A=a0,a1", "--replicates", "B=b=0")
    assert chosen_replicates(options) == {"A": ["a0", "a1"], "B": ["b=0"]}
    assert options.repeated == "training"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--replicates", "A=a", "--replicates-by", "x"), "found both"),
        (("--replicates", "a0,a1"), "expected NAME=SET,SET, found 'a0,a1'"),
        (("--replicates", "A="), "expected NAME=SET,SET"),
        (("--replicates", "A=a", "--replicates", "A=b"), "expected one group of A, found two"),
    ],
)
def test_groups_that_are_none_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        chosen_replicates(parse(*arguments))


@pytest.fixture
def features(tmp_path, monkeypatch):
    """Features of a reference and of three models, two of them trained three times."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxfid.cli.score.start_jax", lambda cache: None)  # it has started
    rng = np.random.default_rng(0)
    shifts = {
        "ref": 0.0,
        "a0": 0.5,
        "a1": 0.52,
        "a2": 0.48,
        "b0": 2.0,
        "b1": 2.02,
        "b2": 1.98,
        "c": 2,
    }
    for name, shift in shifts.items():
        np.savez(f"{name}.npz", features=rng.normal(size=(300, 64)).astype(np.float32) + shift)
    return [f"{name}.npz" for name in shifts]


def test_score_prints_models_comparisons_and_the_ranking(features, capsys):
    by = ("--replicates-by", r"([ab])\d", "--metrics", "fid", "--json", "r.json")
    assert main(["score", *features, *by, "--dims", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    models = [line for line in lines if "over 3 training seeds: fid" in line]
    assert [line.split()[0] for line in models] == ["a", "b"]
    assert any("over 3 training seeds: more than chance (3 comparisons)" in line for line in lines)
    at = next(i for i, line in enumerate(lines) if line.startswith("ranking by"))
    assert [line.split()[:2] for line in lines[at + 1 :]] == [
        ["1.", "a:"], ["2.", "b:"], ["2.", "c.npz:"],
    ]  # fmt: skip
    assert len(Result.from_json(Path("r.json").read_text()).replicates) == 2
    assert main(["score", *features, "--replicates", "A=a0.npz,x.npz"]) == 2
    assert "found x.npz" in capsys.readouterr().err
