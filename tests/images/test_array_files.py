"""`.npy` and `.npz` files: read in parts, and every way to hold no images."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from jaxfid.storage import random_access
from tests.images.files import make_images, read_all, write_zip

IMAGES = make_images(12)


def save(path, kind, images, **others):
    if kind == "npy":
        np.save(path / "x.npy", images)
    elif kind == "npz":
        np.savez(path / "x.npz", images, **others)
    else:
        np.savez_compressed(path / "x.npz", images, **others)
    return path / f"x.{kind[:3]}"


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed"])
@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., 0]], ids=["colour", "grey"])
def test_array_files_give_the_images_of_the_array(tmp_path, kind, images):
    source = open_source(save(tmp_path, kind, images))
    in_memory = open_source(images)
    assert source.keys == in_memory.keys
    assert source.labels is None
    for index in (0, 11, 3):
        np.testing.assert_array_equal(source.read(index), in_memory.read(index))


def test_header_of_version_2(tmp_path):
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, IMAGES, version=(2, 0))
    np.testing.assert_array_equal(open_source(tmp_path / "x.npy").read(7), IMAGES[7])


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed"])
def test_files_are_never_loaded_whole(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(random_access, "_BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(random_access, "_INPUT_BYTES", 1 << 12)
    noise = np.frombuffer(np.random.default_rng(0).bytes(6_000_000), np.uint8)
    path = save(tmp_path, kind, noise.reshape(20, 100, 1000, 3))
    del noise
    tracemalloc.start()
    source = open_source(path)
    for index in range(len(source)):
        source.read(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One image is 0.3 MB; inflating holds three blocks of 0.26 MB, makes a fourth from pieces, and
    # cuts the image out. The whole array is 6 MB.
    assert peak < (3_000_000 if "compressed" in kind else 1_000_000)


def test_arr_0_is_chosen_among_several(tmp_path):
    path = save(tmp_path, "npz", IMAGES, labels=np.arange(12), mu=np.ones(2), sigma=np.eye(2))
    np.testing.assert_array_equal(open_source(path).read(2), IMAGES[2])


def test_only_array_is_chosen_whatever_its_name(tmp_path):
    np.savez(tmp_path / "x.npz", samples=IMAGES)
    np.testing.assert_array_equal(open_source(tmp_path / "x.npz").read(2), IMAGES[2])


def test_several_arrays_are_listed(tmp_path):
    np.savez(tmp_path / "x.npz", samples=IMAGES, labels=np.arange(12))
    with pytest.raises(InputError, match=r"one named arr_0, found samples, labels"):
        open_source(tmp_path / "x.npz")


def test_npz_without_arrays(tmp_path):
    with pytest.raises(InputError, match="found none"):
        open_source(write_zip(tmp_path / "x.npz", {"a.txt": b""}))


def test_statistics_are_no_images(tmp_path):
    np.savez(tmp_path / "x.npz", mu=np.ones(2), sigma=np.eye(2))
    with pytest.raises(InputError, match=r"x\.npz: expected images, found statistics"):
        open_source(tmp_path / "x.npz")


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed"])
@pytest.mark.parametrize(
    ("array", "found"),
    [
        (IMAGES / 255, "dtype float64"),
        (IMAGES[..., :2], r"shape \(12, 5, 7, 2\)"),
        (IMAGES[:0], "no images"),
    ],
)
def test_array_that_holds_no_images_is_refused_by_its_header(tmp_path, kind, array, found):
    with pytest.raises(InputError, match=r"x\.np[yz]: expected uint8 images of .* found " + found):
        open_source(save(tmp_path, kind, array))


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed"])
def test_array_of_python_objects_is_refused_by_its_header(tmp_path, kind):
    with pytest.raises(InputError, match=r"x\.np[yz]: expected a plain array of numbers, found"):
        open_source(save(tmp_path, kind, IMAGES.astype(object)))


def test_fortran_order_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"x\.npy: expected C order, found Fortran"):
        open_source(save(tmp_path, "npy", np.asfortranarray(IMAGES)))


@pytest.mark.parametrize(("length", "found"), [(-1, "cut off"), (60, "descr"), (0, "b''")])
def test_npy_that_is_cut_off(tmp_path, length, found):
    path = save(tmp_path, "npy", IMAGES)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"x\.npy: expected .* found.*" + found):
        open_source(path)


def test_npy_of_an_unknown_version(tmp_path):
    path = save(tmp_path, "npy", IMAGES)
    path.write_bytes(path.read_bytes()[:6] + b"\x09" + path.read_bytes()[7:])
    with pytest.raises(InputError, match=r"x\.npy: .*format version 1 or 2, found"):
        open_source(path)


def test_npz_that_is_cut_off(tmp_path):
    path = save(tmp_path, "npz", IMAGES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"x\.npz: expected a zip file, found it corrupt"):
        open_source(path)


def test_npz_whose_array_is_longer_than_its_header_says(tmp_path):
    longer = save(tmp_path, "npy", IMAGES).read_bytes() + b"more"
    with pytest.raises(InputError, match=r"x\.npz: expected 1260 bytes .* found 1264"):
        open_source(write_zip(tmp_path / "x.npz", {"arr_0.npy": longer}, zipfile.ZIP_STORED))


def test_compressed_npz_with_a_changed_byte(tmp_path):
    path = save(tmp_path, "npz compressed", IMAGES)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.npz: corrupt"):
        open_source(path).read(11)


def test_stored_npz_with_a_changed_bit_is_refused_whatever_is_read_of_it(tmp_path):
    path = save(tmp_path, "npz", IMAGES)
    data = bytearray(path.read_bytes())
    data[data.index(IMAGES[7].tobytes()) + 9] ^= 1
    path.write_bytes(data)
    for index in (0, 7):
        with pytest.raises(InputError, match=r"x\.npz: corrupt, its checksum does not fit"):
            open_source(path).read(index)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.arange(12), [str(i) for i in range(12)]),
        (np.arange(12, dtype=np.uint8) % 2, ["0", "1"] * 6),
        (np.arange(11), None),
        (np.linspace(0, 1, 12), None),
        (np.arange(24).reshape(12, 2), None),
    ],
)
def test_second_array_is_classes_where_it_has_an_integer_for_each_image(tmp_path, labels, expected):
    np.savez(tmp_path / "x.npz", IMAGES, labels)
    assert open_source(tmp_path / "x.npz").labels == expected


def test_only_the_pair_that_adm_writes_holds_classes(tmp_path):
    np.savez(tmp_path / "x.npz", IMAGES, y=np.arange(12))
    assert open_source(tmp_path / "x.npz").labels is None


SHAPES = ["(1000000000000, 8, 8, 3)", "(-2, -8, 8, 3)", "(" * 300, "(12,) * 9", str((1,) * 100)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_header_that_cannot_be_is_refused_at_once(tmp_path, suffix, shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(384)
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(data)
    if suffix == "npz":
        write_zip(path, {"arr_0.npy": data}, zipfile.ZIP_STORED)
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"x\.{suffix}: expected"):
        open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed"])
def test_damage_anywhere_is_found_or_only_in_pixels_without_a_checksum(tmp_path, kind):
    path = save(tmp_path, kind, IMAGES)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for position in rng.choice(len(data), 60, replace=False):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            images = read_all(open_source(path))
        except InputError as error:
            assert "x.np" in str(error)
        else:
            different = sum((a != b).sum() for a, b in zip(images, IMAGES, strict=True))
            assert different <= (1 if kind == "npy" else 0)


def test_digest_of_npz_changes_with_pixels(tmp_path):
    first = open_source(save(tmp_path, "npz", IMAGES)).digest()
    assert open_source(save(tmp_path, "npz", IMAGES[::-1])).digest() != first
