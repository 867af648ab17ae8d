"""The command `distance`: the value, its JSON, and what is refused."""

import argparse
import json

import numpy as np
import pytest
from scipy import linalg

from jaxfid.cli import main
from jaxfid.cli.distance import run
from jaxfid.errors import InputError
from jaxfid.stats.features import Features, save_features
from tests.commands import run_jaxfid


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    reference, generated = rng.normal(size=(60, 5)), rng.normal(0.3, 1.5, (50, 5))
    np.save(tmp_path / "a.npy", reference)
    np.savez(tmp_path / "b.npz", features=generated.astype(np.float32))
    np.save(tmp_path / "wide.npy", rng.normal(size=(4, 6)))
    return tmp_path


def plain_distance(a, b):
    """The formula as it is written, by SciPy's matrix square root."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = np.sum((a.mean(0) - b.mean(0)) ** 2)
    return shift + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)


def test_command_prints_the_distance_and_writes_json(files):
    done = run_jaxfid("distance", files / "a.npy", files / "b.npz", "--json", files / "result.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((files / "result.json").read_text())
    assert result["reference"] == {"name": str(files / "a.npy"), "num_vectors": 60}
    (scored,) = result["results"]
    value = scored["metrics"]["frechet_distance"]["value"]
    expected = plain_distance(np.load(files / "a.npy"), np.load(files / "b.npz")["features"])
    assert value == pytest.approx(expected, rel=1e-10)  # float64 on both sides
    line = f"frechet_distance {value:.6g} (50 against 60 vectors of 5 features)"
    assert done.stdout == f"{files / 'b.npz'}: {line}\n"
    assert "fid" not in (done.stdout + json.dumps(scored)).replace("jaxfid", "").replace(
        str(files), ""
    )


def options(reference, generated, json=None):
    return argparse.Namespace(reference=str(reference), generated=str(generated), json=json)


@pytest.fixture
def no_start(monkeypatch):
    """JAX has long been started in this process, and cannot be told its devices again."""
    monkeypatch.setattr("jaxfid.cli.distance.start_jax", lambda: None)


def test_json_alone_on_stdout_and_few_vectors_warned_of(files, capsys, no_start):
    run(options(files / "wide.npy", files / "wide.npy", "-"))
    out, err = capsys.readouterr()
    assert json.loads(out)["results"][0]["metrics"]["frechet_distance"]["value"] < 1e-9
    assert "wide.npy: 4 vectors of 6 features leave the covariance singular" in err


def test_inputs_that_do_not_go_together_are_refused(files, no_start):
    with pytest.raises(InputError, match=r"features_b': 6.*features_b is .*wide\.npy"):
        run(options(files / "a.npy", files / "wide.npy"))
    with pytest.raises(InputError, match=r"result\.json: expected a file in a folder that exists"):
        run(options(files / "a.npy", files / "a.npy", files / "no" / "result.json"))
    assert main(["distance", str(files / "a.npy"), str(files / "none.npy")]) == 2


def test_features_of_other_settings_are_warned_of(tmp_path, capsys, no_start):
    rows = np.random.default_rng(0).normal(size=(9, 3))
    paths = [tmp_path / name for name in ("a.npz", "b.npz")]
    for path, protocol in zip(paths, ("clean", "legacy_pytorch"), strict=True):
        save_features(path, Features(rows, None, {"protocol": protocol}))
    run(options(*paths))
    assert (
        "made under other settings: protocol legacy_pytorch against clean"
        in capsys.readouterr().err
    )
    run(options(paths[0], paths[0]))
    assert "other settings" not in capsys.readouterr().err
