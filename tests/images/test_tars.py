"""Tar files as sources: order, samples, and every way to be corrupt."""

import tarfile

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.images import tars
from jaxfid.images.sources import open_source
from tests.images.files import make_files, make_images, read_all, write_folder, write_tar

KEYS = ["a-b/0.png", "a/0.PNG", "b.png"]


def test_tar_is_read_in_sorted_order(tmp_path):
    files = {f"./{key}": data for key, data in reversed(make_files(KEYS).items())}
    source = open_source(write_tar(tmp_path / "x.tar", files))
    assert source.keys == KEYS
    assert source.labels == ["a-b", "a", ""]
    np.testing.assert_array_equal(read_all(source), make_images(3))


def make_shards(root):
    files = list(make_files(["s0/a.png", "s0/c/b.png", "s1/a.png", "s1/c/b.png"]).items())
    for name, part in (("s0", files[:2]), ("s1", files[2:])):
        write_tar(root / f"{name}.tar", {key[3:]: data for key, data in part} | {"a.json": b"{}"})
    return [root / "s0.tar", root / "s1.tar"]


def test_folder_of_shards_is_one_source(tmp_path):
    make_shards(tmp_path)
    source = open_source(tmp_path)
    assert source.keys == ["s0.tar/a.png", "s0.tar/c/b.png", "s1.tar/a.png", "s1.tar/c/b.png"]
    assert source.labels == ["", "c", "", "c"]
    np.testing.assert_array_equal(read_all(source), make_images(4))


def test_list_of_shards_is_one_source_in_sorted_order(tmp_path):
    shards = make_shards(tmp_path)
    source = open_source([str(shards[1]), shards[0]])
    np.testing.assert_array_equal(read_all(source), make_images(4))


def test_more_shards_than_files_held_open(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "_OPEN_SHARDS", 1)
    make_shards(tmp_path)
    np.testing.assert_array_equal(read_all(open_source(tmp_path)), make_images(4))


def test_images_beside_shards_are_ambiguous(tmp_path):
    make_shards(tmp_path)
    write_folder(tmp_path, make_files(["a.png"]))
    with pytest.raises(InputError, match=r"found both; s[01]\.tar is a tar"):
        open_source(tmp_path)


def test_list_with_something_else_than_tars(tmp_path):
    shards = make_shards(tmp_path)
    with pytest.raises(InputError, match=r"found x\.zip, missing\.tar"):
        open_source([shards[0], "x.zip", "missing.tar"])
    with pytest.raises(InputError, match="found one twice"):
        open_source([shards[0], shards[0]])


@pytest.mark.parametrize("length", [700, 1700, 2000])
def test_tar_that_is_cut_off(tmp_path, length):
    path = write_tar(tmp_path / "x.tar", {"a.png": bytes(100), "b.png": bytes(700)})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"x\.tar: "):
        open_source(path)


def test_tar_with_a_corrupt_header_in_the_middle(tmp_path):
    path = write_tar(tmp_path / "x.tar", {"a.png": bytes(100), "b.png": bytes(700)})
    data = bytearray(path.read_bytes())
    data[1024 + 5] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.tar: corrupt tar file after a\.png"):
        open_source(path)


def test_tar_of_links_is_refused(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(["a.png"]))
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        archive.addfile(link)
    with pytest.raises(InputError, match=r"found links or sparse files: b\.png"):
        open_source(path)


def test_tar_without_images_and_no_tar(tmp_path):
    with pytest.raises(InputError, match=r"x\.tar: expected images, found 1 other files"):
        open_source(write_tar(tmp_path / "x.tar", {"a.txt": b""}))
    (tmp_path / "y.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match=r"y\.tar: expected a whole, uncompressed tar file"):
        open_source(tmp_path / "y.tar")


def test_compressed_tar_is_refused_with_the_remedy(tmp_path):
    path = write_tar(tmp_path / "x.tar.gz", make_files(["a.png"]), "w:gz")
    with pytest.raises(InputError, match=r"x\.tar\.gz: .*unpack it to \.tar"):
        open_source(path)


def test_archive_that_shrinks_after_opening(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(KEYS))
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match=r"x\.tar: cut off, ends before byte"):
        source.read(2)
