"""Feature files: what is read is what was written, and hostile files are refused."""

import pickle

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.stats.features import Features, is_features_file, load_features, save_features
from jaxfid.stats.files import load_stats

FEATURES = np.random.default_rng(0).normal(size=(5, 3))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_npy_and_npz_give_the_array(tmp_path, dtype):
    features = FEATURES.astype(dtype)
    np.save(tmp_path / "a.npy", features)
    np.savez(tmp_path / "b.npz", anything=features)
    np.savez(tmp_path / "c.npz", labels=np.arange(5), features=features)
    for name in ("a.npy", "b.npz", "c.npz"):
        assert is_features_file(tmp_path / name) is (name != "b.npz")
        loaded = load_features(tmp_path / name)
        np.testing.assert_array_equal(loaded.rows, features, strict=True)
        assert (loaded.keys, loaded.provenance) == (None, None)


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
    with pytest.raises(InputError, match=r"a\.npy: expected features in .* found a pickle"):
        load_features(path)
    np.save(path, FEATURES)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"a\.npy: expected 120 bytes .* found 119: cut off"):
        load_features(path)
    np.savez(tmp_path / "stats.npz", mu=FEATURES[0], sigma=np.eye(3))
    with pytest.raises(InputError, match=r"found mu, sigma; statistics .* `jaxfid score`"):
        load_features(tmp_path / "stats.npz")
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"b\.npz: damaged or truncated zip archive"):
        load_features(tmp_path / "b.npz")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"a\.csv: expected an \.npz .* an \.npy or a pickle"):
        load_features(tmp_path / "a.csv")


def test_what_is_saved_is_loaded(tmp_path):
    saved = Features(FEATURES.astype(np.float32), ("a", "ü/b", "c", "d", "e"), {"extractor": "x"})
    for name in "ab":
        save_features(tmp_path / name, saved)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert is_features_file(tmp_path / "a")
    loaded = load_features(tmp_path / "a")
    np.testing.assert_array_equal(loaded.rows, saved.rows, strict=True)
    assert (loaded.keys, loaded.provenance) == (saved.keys, saved.provenance)


@pytest.mark.parametrize(
    ("features", "match"),
    [
        (Features(FEATURES[0]), "features.rows: expected a floating array"),
        (Features(FEATURES, ("a",)), "features: keys: expected 5 names"),
        (Features(FEATURES, None, {"a": float("nan")}), "features.provenance: .* JSON"),
        (Features(FEATURES, None, {"a": "x" * (1 << 18)}), "at most 262144 characters"),
    ],
)
def test_what_no_file_can_hold_is_refused_and_leaves_none(tmp_path, features, match):
    with pytest.raises(InputError, match=match):
        save_features(tmp_path / "a.npz", features)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"keys": np.arange(5)}, r"a\.npz: keys: expected 5 names, found int64"),
        ({"keys": np.array(["a"])}, "expected 5 names"),
        ({"provenance": "[1]"}, r"a\.npz: provenance: expected a JSON object"),
        ({"provenance": "[" * 100_000}, "provenance: expected JSON"),
        ({"provenance": '{"a": NaN}'}, "provenance: expected JSON"),
        ({"provenance": np.array([1])}, "provenance: expected text"),
    ],
)
def test_what_is_said_of_features_is_checked(tmp_path, arrays, match):
    np.savez(tmp_path / "a.npz", features=FEATURES, **arrays)
    with pytest.raises(InputError, match=match):
        load_features(tmp_path / "a.npz")


def test_features_of_other_tools_are_read(tmp_path):
    np.savez(tmp_path / "score_sde.npz", pool_3=FEATURES, logits=FEATURES)
    hparams = np.array({"nimages": 5}, object)
    np.savez(tmp_path / "dgm_eval.npz", model="dinov2", reps=FEATURES, hparams=hparams)
    for name in ("score_sde.npz", "dgm_eval.npz"):
        np.testing.assert_array_equal(load_features(tmp_path / name).rows, FEATURES)
        assert is_features_file(tmp_path / name)
        stats = load_stats(tmp_path / name)
        np.testing.assert_allclose(stats.mean, FEATURES.mean(axis=0), rtol=1e-15, atol=1e-16)
        np.testing.assert_allclose(
            stats.cov, np.cov(FEATURES, rowvar=False), rtol=1e-14, atol=1e-16
        )
        assert stats.count == 5


def test_features_lie_in_a_bucket_as_well(tmp_path):
    save_features(f"memory:/{tmp_path}/a.npz", Features(FEATURES))
    np.testing.assert_array_equal(load_features(f"memory:/{tmp_path}/a.npz").rows, FEATURES)


def test_a_flipped_bit_is_seen(tmp_path):
    np.savez(tmp_path / "a.npz", features=FEATURES)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[250] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz: features: .*Bad CRC-32"):
        load_features(tmp_path / "a.npz")


def test_a_file_that_is_cut_while_it_is_used_does_no_harm(tmp_path):
    np.save(tmp_path / "a.npy", FEATURES)
    features = load_features(tmp_path / "a.npy").rows
    (tmp_path / "a.npy").write_bytes(b"")
    np.testing.assert_array_equal(features, FEATURES)  # of a memory map, this is a SIGBUS
