"""Zip files as sources: order, what is left out, and every way to be corrupt."""

import zipfile

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
