"""Feature files: what is read is what was written, and hostile files are refused."""

import pickle

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.stats.features import load_features

FEATURES = np.random.default_rng(0).normal(size=(5, 3))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_npy_and_npz_give_the_array(tmp_path, dtype):
    features = FEATURES.astype(dtype)
    np.save(tmp_path / "a.npy", features)
    np.savez(tmp_path / "b.npz", anything=features)
    np.savez(tmp_path / "c.npz", labels=np.arange(5), features=features)
    for name in ("a.npy", "b.npz", "c.npz"):
        loaded = load_features(tmp_path / name)
        assert loaded.dtype == dtype
        np.testing.assert_array_equal(loaded, features)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (FEATURES[0], r"found float64 of shape \(3,\)"),
        (FEATURES.astype(int), r"found int64 of shape \(5, 3\)"),
        (FEATURES[:, :0], r"of shape \(5, 0\)"),
        (np.array([{}]), "expected a plain array"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, match):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=match):
        load_features(tmp_path / "a.npy")


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(InputError, match=r"a\.npy: expected a file of features, found nothing"):
        load_features(path)
    path.write_bytes(pickle.dumps([1.0]))
    with pytest.raises(InputError, match=r"a\.npy: expected a plain array"):
        load_features(path)
    np.save(path, FEATURES)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"a\.npy: expected a plain array"):
        load_features(path)
    np.savez(tmp_path / "stats.npz", mu=FEATURES[0], sigma=np.eye(3))
    with pytest.raises(InputError, match=r"found mu, sigma; statistics .* `jaxfid score`"):
        load_features(tmp_path / "stats.npz")
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="no whole zip archive"):
        load_features(tmp_path / "b.npz")
    with pytest.raises(InputError, match=r"expected features in an \.npy or \.npz"):
        load_features(tmp_path / "a.csv")
