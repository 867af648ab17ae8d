"""Other tools read what is written for them, and so does jaxfid."""

import pickle

import numpy as np
import pytest

from jaxfid.cli import main
from jaxfid.cli import stats as stats_command
from jaxfid.errors import InputError
from jaxfid.stats.features import Features, load_features
from jaxfid.stats.files import Stats, load_stats, save_stats
from jaxfid.stats.formats import FORMATS

RNG = np.random.default_rng(0)
MEAN, COV = RNG.normal(size=1024), np.diag(RNG.random(1024) + 1)
DINOV2 = {"extractor": "dinov2_vitl14", "protocol": "edm2", "dims": 1024}
INCEPTION = {"extractor": "inception", "protocol": "legacy_tensorflow", "dims": 2048}


def test_pytorch_fid_reads_mu_and_sigma(tmp_path):
    save_stats(tmp_path / "s.npz", Stats(MEAN, COV, 9, DINOV2), format="pytorch-fid")
    with np.load(tmp_path / "s.npz") as file:  # as `compute_statistics_of_path` of pytorch-fid
        assert file.files == ["mu", "sigma"]
        np.testing.assert_array_equal(file["mu"][:], MEAN)
        np.testing.assert_array_equal(file["sigma"][:], COV)
    np.testing.assert_array_equal(load_stats(tmp_path / "s.npz").mean, MEAN)


@pytest.mark.oracle
def test_pytorch_fid_s_own_loader_reads_it(tmp_path):
    fid_score = pytest.importorskip("pytorch_fid.fid_score", exc_type=ImportError)
    save_stats(tmp_path / "s.npz", Stats(MEAN, COV), format="pytorch-fid")
    found = fid_score.compute_statistics_of_path(str(tmp_path / "s.npz"), None, 1, 1024, "cpu")
    np.testing.assert_array_equal(found[0], MEAN)
    np.testing.assert_array_equal(found[1], COV)


def test_edm2_finds_them_under_the_name_of_its_metric(tmp_path):
    path = tmp_path / "ref.pkl"
    save_stats(path, Stats(MEAN, COV, 9, DINOV2), format="edm2")
    with path.open("rb") as file:
        found = pickle.load(file)
    assert list(found) == ["fd_dinov2"]
    np.testing.assert_array_equal(found["fd_dinov2"]["mu"], MEAN)
    np.testing.assert_array_equal(found["fd_dinov2"]["sigma"], COV)
    again = load_stats(f"{path}#fd_dinov2")
    np.testing.assert_array_equal(again.cov, COV)
    np.testing.assert_array_equal(load_stats(path).mean, MEAN)
    wide = Stats(np.zeros(2048), np.eye(2048), 9, INCEPTION)
    save_stats(path, wide, format="edm2")
    np.testing.assert_array_equal(load_stats(f"{path}#fid").cov, np.eye(2048))


def test_dgm_eval_reads_representations(tmp_path):
    rows = RNG.normal(size=(5, 3)).astype(np.float32)
    save_stats(tmp_path / "r.npz", Features(rows, None, DINOV2), format="dgm-eval")
    with np.load(tmp_path / "r.npz") as file:  # as `load_reps_from_path` of dgm-eval
        np.testing.assert_array_equal(file["reps"], rows)
        assert str(file["model"]) == "dinov2_vitl14"
    np.testing.assert_array_equal(load_features(tmp_path / "r.npz").rows, rows)


@pytest.mark.parametrize(
    ("stats", "format", "name", "message"),
    [
        (Stats(MEAN, COV), "tf-gan", "s.npz", "format: expected one of jaxfid, .* found 'tf-gan'"),
        (Stats(MEAN, COV), "dgm-eval", "s.npz", "holds what compute_features gives, found Stats"),
        (Features(COV), "jaxfid", "s.npz", "holds what compute_stats gives, found Features"),
        (Stats(MEAN, COV), "pytorch-fid", "s", "pytorch-fid reads names that end in .npz"),
        (Stats(MEAN, COV, 9, DINOV2), "edm2", "s.npz", "another format; say .pkl"),
        (Stats(MEAN, COV), "edm2", "s.pkl", "found unknown features of unknown under unknown"),
        (
            Stats(MEAN, COV, 9, DINOV2 | {"protocol": "dgm_eval"}),
            *("edm2", "s.pkl", "found 1024 features of dinov2_vitl14 under dgm_eval"),
        ),
        (
            Stats(MEAN, COV, 9, INCEPTION | {"dims": 768}),
            *("edm2", "s.pkl", "found 768 features of inception"),
        ),
        (
            Stats(MEAN, COV, 9, DINOV2, Stats(MEAN, COV)),
            *("edm2", "s.pkl", "edm2 has no place for sFID's statistics"),
        ),
    ],
)
def test_what_a_tool_would_misread_is_refused_and_leaves_no_file(
    tmp_path, stats, format, name, message
):
    with pytest.raises(InputError, match=message):
        save_stats(tmp_path / name, stats, format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "names"), [("pytorch-fid", "mu sigma"), ("dgm-eval", "reps")])
def test_the_command_writes_it(tmp_path, monkeypatch, format, names):
    images = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    monkeypatch.setattr("jaxfid.cli.saving.start_jax", lambda *_: None)
    arguments = ["stats", str(tmp_path / "images.npy"), "-o", str(tmp_path / "s.npz")]
    assert main([*arguments, "--extractor", "tests.tiny:make_tiny", "--format", format]) == 0
    with np.load(tmp_path / "s.npz") as file:
        assert set(names.split()) <= set(file.files)


def test_what_edm2_would_misread_is_refused_before_an_image_is_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jaxfid.cli.saving.start_jax", lambda *_: None)
    arguments = ["stats", "not there", "-o", str(tmp_path / "s.pkl"), "--format", "edm2"]
    assert main([*arguments, "--extractor", "dinov2_vitl14"]) == 2
    assert "found 1024 features of dinov2_vitl14 under dgm_eval" in capsys.readouterr().err
    for fitting in ([], ["--extractor", "dinov2_vitl14", "--protocol", "edm2"]):
        assert main([*arguments, *fitting]) == 2
        assert "not there: expected" in capsys.readouterr().err


def test_the_command_names_every_format():
    assert tuple(FORMATS) == stats_command._FORMATS
