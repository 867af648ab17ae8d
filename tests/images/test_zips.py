"""Zip files as sources: order, what is left out, and every way to be corrupt."""

import json
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from tests.images.files import make_files, make_images, read_all, write_zip

KEYS = ["a-b/0.png", "a/0.PNG", "b.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_is_read_in_sorted_order(tmp_path, method):
    files = make_files(KEYS)
    path = write_zip(tmp_path / "x.zip", dict(reversed(files.items())), method)
    source = open_source(path)
    assert source.keys == KEYS
    np.testing.assert_array_equal(read_all(source), make_images(3))


def test_zip_leaves_out_what_is_no_image(tmp_path):
    others = {"__MACOSX/._b.png": b"x", "read.me": b"x", ".hidden.png": b"x", "folder.png/": b""}
    assert open_source(write_zip(tmp_path / "x.zip", make_files(KEYS) | others)).keys == KEYS


def test_zip_behind_other_bytes(tmp_path):
    path = write_zip(tmp_path / "x.zip", make_files(KEYS))
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    np.testing.assert_array_equal(read_all(open_source(path)), make_images(3))


def test_zip_without_images(tmp_path):
    with pytest.raises(InputError, match=r"x\.zip: .* found 1 other files, such as a\.txt"):
        open_source(write_zip(tmp_path / "x.zip", {"a.txt": b""}))
    with pytest.raises(InputError, match=r"y\.zip: expected images, found nothing in it"):
        open_source(write_zip(tmp_path / "y.zip", {}))


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"no zip", lambda _: b""])
def test_zip_that_is_none(tmp_path, damage):
    path = write_zip(tmp_path / "x.zip", make_files(KEYS))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"x\.zip: expected a zip file, found it corrupt"):
        open_source(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_with_a_changed_byte_in_a_member(tmp_path, method):
    path = write_zip(tmp_path / "x.zip", make_files(["a.png"]), method)
    data = bytearray(path.read_bytes())
    data[80] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.zip/a\.png: corrupt"):
        open_source(path).read(0)


def test_zip_whose_listing_points_elsewhere(tmp_path):
    path = write_zip(tmp_path / "x.zip", make_files(["a.png"]))
    path.write_bytes(b"XX" + path.read_bytes()[2:])
    with pytest.raises(InputError, match=r"x\.zip: corrupt zip, a\.png is not where it should be"):
        open_source(path).read(0)


def test_zip_with_encrypted_members(tmp_path):
    path = write_zip(tmp_path / "x.zip", make_files(["a.png"]))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.zip: encrypted members: a\.png; decrypt"):
        open_source(path)


def test_zip_with_another_compression(tmp_path):
    path = write_zip(tmp_path / "x.zip", make_files(KEYS), zipfile.ZIP_BZIP2)
    with pytest.raises(InputError, match=r"another compression in a-b/0\.png, a/0\.PNG, b\.png"):
        open_source(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_a_path_twice(tmp_path):
    path = write_zip(tmp_path / "x.zip", make_files(["a.png"]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.png", b"")
    with pytest.raises(InputError, match=r"x\.zip: .*found twice a\.png"):
        open_source(path)


def write_lying_zip(path, *, num_bytes, packed=None, name=b"x.png", crc=0, offset=0):
    """A zip of one deflated member whose listing says what is given; a zip64 one where it must be."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflater.compress(bytes(1 << 24)) + deflater.flush()
    packed = len(body) if packed is None else packed
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(body), 0, len(name), 0)
    local += name + body
    fields = [min(n, 0xFFFFFFFF) for n in (packed, num_bytes, offset)]
    large = [n for n in (num_bytes, packed, offset) if n >= 0xFFFFFFFF]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    head = (
        20,
        20,
        0,
        8,
        0,
        33,
        crc,
        fields[0],
        fields[1],
        len(name),
        len(extra),
        0,
        0,
        0,
        0,
        fields[2],
    )
    central = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *head) + name + extra
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


@pytest.mark.parametrize("num_bytes", [0, 1000])
def test_member_that_inflates_to_more_than_it_says_is_not_inflated(tmp_path, num_bytes):
    source = open_source(write_lying_zip(tmp_path / "x.zip", num_bytes=num_bytes))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"x\.zip/x\.png: corrupt, its checksum does not fit"):
        source.read(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # it would be 16 MB


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ({"num_bytes": 1 << 31}, "x.png: expected at most 1073741824 bytes .* found 2147483648"),
        ({"num_bytes": 9, "packed": 1 << 20}, "corrupt zip, not within it: x.png"),
        ({"num_bytes": 1 << 60, "packed": 1 << 60}, "corrupt zip, not within it: x.png"),
        ({"num_bytes": 9, "offset": 1 << 60}, "corrupt zip, not within it: x.png"),
        ({"num_bytes": 9, "name": b""}, "corrupt zip, 1 of its members have no name"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_anything_is_allocated(tmp_path, sizes, found):
    path = write_lying_zip(tmp_path / "x.zip", **sizes)
    with pytest.raises(InputError, match=r"x\.zip.*" + found):
        open_source(path).read(0)


def test_zip_packed_by_lzma(tmp_path):
    path = write_zip(tmp_path / "x.zip", make_files(KEYS), zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="another compression in a-b/0"):
        open_source(path)


def test_damage_anywhere_is_found_or_harmless(tmp_path):
    data = write_zip(tmp_path / "x.zip", make_files(["a.png", "b.png"])).read_bytes()
    rng, images = np.random.default_rng(0), make_images(2)
    for position in rng.choice(len(data), 80, replace=False):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.integers(8)
        (tmp_path / "x.zip").write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.zip")), images)
        except InputError as error:
            assert "x.zip" in str(error)


def test_what_is_not_scored_is_named(tmp_path):
    others = {"a/notes.txt": b"x", "c.heic": b"x", "__MACOSX/._b.png": b"x", ".git/d.png": b"x"}
    source = open_source(write_zip(tmp_path / "x.zip", make_files(KEYS) | others))
    assert source.others == [".git/", "__MACOSX/", "a/notes.txt", "c.heic"]
    assert source.remarks == [
        "2 folders left out with all in it: .git/, __MACOSX/",
        "2 other files not scored: a/notes.txt, c.heic",
    ]
    assert source.take([0]).others == source.others


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_images_under_other_names_are_an_error(tmp_path, method):
    files = make_files(["a.png", "b.PNG_large", "c"])
    with pytest.raises(
        InputError, match=r"named as such, found .* b\.PNG_large \(PNG\), c \(PNG\)"
    ):
        open_source(write_zip(tmp_path / "x.zip", files, method))


STORED = ["00000/img00000000.png", "00000/img00000001.png", "00001/img00000002.png"]


def write_dataset_zip(path, content):
    return write_zip(path, make_files(STORED) | {"dataset.json": content})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2, 0, 2], ["2", "0", "2"]),
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], ["2", "0", "1"]),
        ([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], ["1", "0", "1"]),
        (None, None),
    ],
)
def test_labels_of_a_zip_of_stylegans_are_those_of_its_json(tmp_path, labels, expected):
    pairs = labels and [[key, label] for key, label in zip(STORED, labels, strict=True)]
    path = write_dataset_zip(tmp_path / "x.zip", json.dumps({"labels": pairs}).encode())
    source = open_source(path)
    assert source.labels == expected
    assert source.others == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"{", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b'{"labels": [["00000/img00000000.png", 1]]}', "found none of 00000/img00000001.png"),
        (b'{"labels": [1, 2, 3]}', "pairs of a file's name and its class"),
        (b'{"labels": [["00000/img00000000.png", [0.5, 0.5]]]}', "not one 1 among zeros"),
    ],
)
def test_labels_that_are_none_are_an_error_when_they_are_asked_for(tmp_path, content, found):
    source = open_source(write_dataset_zip(tmp_path / "x.zip", content))
    assert len(source) == 3
    with pytest.raises(InputError, match=r"x\.zip/dataset\.json: .*" + found):
        _ = source.labels


def test_json_of_another_tool_leaves_the_folders_as_labels(tmp_path):
    source = open_source(write_dataset_zip(tmp_path / "x.zip", b'{"info": {}}'))
    assert source.labels == ["00000", "00000", "00001"]


def test_several_images_of_a_name_are_remarked_or_chosen_from(tmp_path):
    keys = ["0.left.png", "0.right.png", "1.left.png", "1.right.png"]
    path = write_zip(tmp_path / "x.zip", make_files(keys))
    source = open_source(path)
    assert source.keys == keys
    assert "(left.png, right.png): all are scored" in source.remarks[0]
    assert open_source(path, image_key="right.png").keys == ["0.right.png", "1.right.png"]


def test_joined_zip_files_are_no_set(tmp_path):
    for name in ("a", "b"):
        write_zip(tmp_path / f"{name}.zip", make_files(KEYS))
    joined = tmp_path / "joined.zip"
    joined.write_bytes((tmp_path / "a.zip").read_bytes() + (tmp_path / "b.zip").read_bytes())
    with pytest.raises(
        InputError, match=r"joined\.zip: expected one zip file, found members before"
    ):
        open_source(joined)
