"""Statistics go to disk and back unchanged, other tools' are read, and everything else is refused."""

import zipfile

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.stats.files import Stats, is_stats_file, load_stats, save_stats

MEAN, COV = np.array([1.0, 2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
PROVENANCE = {"protocol": "clean", "dims": 2, "weights_sha256": "aa", "precision": "float32"}


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "stats.npz"
    save_stats(path, Stats(MEAN, COV, 7, PROVENANCE))
    stats = load_stats(path)
    np.testing.assert_array_equal(stats.mean, MEAN)
    np.testing.assert_array_equal(stats.cov, COV)
    assert (stats.count, stats.provenance, stats.spatial) == (7, PROVENANCE, None)
    assert [p.name for p in tmp_path.iterdir()] == ["stats.npz"]


def test_the_same_statistics_give_the_same_bytes(tmp_path):
    for name in "ab":
        save_stats(tmp_path / name, Stats(MEAN, COV, 7, PROVENANCE))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_pytorch_fid_reads_it_as_it_reads_its_own(tmp_path):
    save_stats(tmp_path / "stats.npz", Stats(MEAN, COV, 7, PROVENANCE))
    with np.load(tmp_path / "stats.npz") as file:
        mu, sigma = file["mu"][:], file["sigma"][:]
    assert mu.dtype == sigma.dtype == np.float64


@pytest.mark.parametrize("keys", [("mu", "sigma"), ("ref_mu", "ref_sigma")])
def test_other_tools_files_are_read_without_provenance(tmp_path, keys):
    path = tmp_path / "other.npz"
    np.savez(path, **dict(zip(keys, (MEAN.astype(np.float32), COV), strict=True)))
    assert is_stats_file(path)
    stats = load_stats(path)
    assert stats.mean.dtype == np.float64
    assert (stats.count, stats.provenance) == (None, None)


def test_adm_files_have_spatial_statistics_and_images_beside(tmp_path):
    path = tmp_path / "adm.npz"
    images = np.zeros((2, 4, 4, 3), np.uint8)
    np.savez(path, mu=MEAN, sigma=COV, mu_s=MEAN + 1, sigma_s=2 * COV, arr_0=images)
    stats = load_stats(path)
    np.testing.assert_array_equal(stats.spatial.mean, MEAN + 1)
    np.testing.assert_array_equal(stats.spatial.cov, 2 * COV)


def test_spatial_statistics_are_saved_as_adm_names_them(tmp_path):
    path = tmp_path / "stats.npz"
    save_stats(path, Stats(MEAN, COV, 7, spatial=Stats(MEAN + 1, 2 * COV)))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["sigma_s"], 2 * COV)
    np.testing.assert_array_equal(load_stats(path).spatial.mean, MEAN + 1)


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        (Stats(MEAN, COV[:1]), "sigma: expected shape"),
        (Stats(MEAN, COV, spatial=Stats(MEAN, COV * np.nan)), "sigma_s: expected finite"),
        (Stats(MEAN, COV, provenance={"now": object()}), "stats.provenance: .* JSON"),
    ],
)
def test_what_no_file_can_hold_is_refused_and_leaves_none(tmp_path, stats, message):
    with pytest.raises(InputError, match=message):
        save_stats(tmp_path / "stats.npz", stats)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/stats.npz: cannot be written"):
        save_stats(tmp_path / "file" / "stats.npz", Stats(MEAN, COV))


def test_only_statistics_are_statistics(tmp_path):
    np.savez(tmp_path / "images.npz", arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    (tmp_path / "text.npz").write_text("text")
    for name in ("images.npz", "text.npz", "missing.npz", "."):
        assert not is_stats_file(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": MEAN}, "expected one of the pairs mu, sigma .*; found arr_0"),
        ({"mu": MEAN}, "expected mu and sigma, found mu alone"),
        ({"mu": MEAN, "sigma": COV, "count": [7, 8]}, "count: expected a number of images"),
        ({"mu": MEAN, "sigma": COV, "mu_s": MEAN}, "expected mu_s and sigma_s, found mu_s alone"),
        ({"mu": MEAN, "sigma": COV[:1]}, "sigma: expected shape"),
        ({"mu": np.array([1, np.nan]), "sigma": COV}, "mu: .*finite"),
        ({"mu": MEAN, "sigma": COV + np.triu(COV)}, "sigma: .*symmetric"),
        ({"mu": MEAN.astype(str), "sigma": COV}, "mu: expected real numbers"),
        ({"mu": MEAN, "sigma": COV, "count": 1}, "count: expected a number of images from 2 up"),
        ({"mu": MEAN, "sigma": COV, "provenance": "[1]"}, "provenance: expected a JSON object"),
        ({"mu": MEAN, "sigma": COV, "provenance": "{"}, "provenance: expected JSON"),
        ({"mu": MEAN, "sigma": COV.astype(np.float16)}, "sigma: expected float32 .* found float16"),
        ({"features": MEAN[None]}, "features: expected at least 2 vectors"),
        ({"features": MEAN}, r"features: expected a floating array of shape \(vectors, width\)"),
        ({"pool_3": np.full((3, 2), np.nan)}, "mean of pool_3: expected finite"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path, arrays, message):
    path = tmp_path / "stats.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as error:
        load_stats(path)
    assert "stats.npz" in str(error.value)


def test_pickles_inside_are_never_loaded(tmp_path):
    path = tmp_path / "stats.npz"
    np.savez(path, mu=np.array([print, None], object), sigma=COV)
    with pytest.raises(InputError, match=r"mu: expected a plain array of numbers"):
        load_stats(path)


def test_a_forged_header_claims_no_memory(tmp_path):
    path = tmp_path / "stats.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("mu", "sigma"):
            size = len(header).to_bytes(2, "little")
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + size + header)
    with pytest.raises(InputError, match=r"mu: .* of shape \(1000000, 1000000\) .*, found 0"):
        load_stats(path)


def test_a_single_array_is_no_statistics(tmp_path):
    path = tmp_path / "stats.npz"
    with path.open("wb") as file:
        np.save(file, COV)
    with pytest.raises(InputError, match=r"found no names"):
        load_stats(path)
    assert not is_stats_file(path)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-30]])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "stats.npz"
    save_stats(path, Stats(MEAN, COV))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"stats\.npz"):
        load_stats(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match="found nothing there"):
        load_stats(tmp_path / "no.npz")


def test_a_name_without_a_suffix_is_as_good_as_any(tmp_path):
    save_stats(tmp_path / "refstats", Stats(MEAN, COV, 7))
    assert is_stats_file(tmp_path / "refstats")
    assert load_stats(tmp_path / "refstats").count == 7


def test_statistics_lie_in_a_bucket_as_well(tmp_path):
    path = f"memory:/{tmp_path}/stats.npz"
    save_stats(path, Stats(MEAN, COV, 7, PROVENANCE))
    assert is_stats_file(path)
    assert load_stats(path).provenance == PROVENANCE


def test_mean_and_cov_are_read(tmp_path):
    np.savez(tmp_path / "stats.npz", mean=MEAN, cov=COV)
    assert is_stats_file(tmp_path / "stats.npz")
    np.testing.assert_array_equal(load_stats(tmp_path / "stats.npz").cov, COV)


def test_a_small_file_claims_no_more_than_is_stated(tmp_path):
    path = tmp_path / "stats.npz"
    np.savez_compressed(path, mu=np.zeros(4096), sigma=np.zeros((4096, 4096)))
    assert path.stat().st_size < 200_000
    with pytest.raises(
        InputError, match=r"sigma.*: expected at most 67108864 bytes .* found 134217"
    ):
        load_stats(path)
