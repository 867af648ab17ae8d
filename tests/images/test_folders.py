"""Which files of a folder are images, in which order, and what goes wrong."""

import contextlib
import os

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.images.formats import is_image_name
from jaxfid.images.sources import open_source
from tests.images.files import make_files, make_images, write_folder
from tests.shared_data import SHARED, needs_shared

KEYS = ["10.png", "9.png", "B/x.PNG", "a-b/x.png", "a/b/c/deep.png", "a/x.png", "ä.png"]


scandir = os.scandir


@contextlib.contextmanager
def scandir_backwards(folder):
    with scandir(folder) as entries:
        yield list(entries)[::-1]


def test_keys_are_sorted_by_code_point_whatever_the_order_of_the_listing(tmp_path, monkeypatch):
    write_folder(tmp_path, make_files(KEYS))
    assert open_source(tmp_path).keys == KEYS
    monkeypatch.setattr(os, "scandir", scandir_backwards)
    assert open_source(str(tmp_path)).keys == KEYS


def test_images_are_those_of_their_keys(tmp_path):
    source = open_source(write_folder(tmp_path, make_files(KEYS)))
    for index, image in enumerate(make_images(len(KEYS))):
        np.testing.assert_array_equal(source.read(index), image)


def test_labels_are_folders(tmp_path):
    source = open_source(write_folder(tmp_path, make_files(KEYS)))
    assert source.labels == ["", "", "B", "a-b", "a/b/c", "a", ""]


def test_no_labels_without_folders(tmp_path):
    assert open_source(write_folder(tmp_path, make_files(["a.png"]))).labels is None


@needs_shared
def test_order_is_that_of_sorted_path_strings():
    root = SHARED / "data/cifar10/test-1k"
    paths = sorted(str(path) for path in root.rglob("*.jpg"))
    source = open_source(root)
    assert [f"{root}/{key}" for key in source.keys] == paths
    assert len(set(source.labels)) == 10


@pytest.mark.parametrize(
    "key", ["a.png", "A.JPG", "x/y.Tiff", "two.dots.webp", "a b.JPEG", "x.gif"]
)
def test_image_names(key):
    assert is_image_name(key)


@pytest.mark.parametrize(
    "key", ["a.txt", "png", "._a.png", ".cache/a.png", "__MACOSX/a.png", "a.png.json", "a.pdf", "a"]
)
def test_names_that_are_not_images(key):
    assert not is_image_name(key)


def test_other_files_are_left_out(tmp_path):
    files = make_files(["a.png"]) | {"notes.txt": b"", "._a.png": b"", ".git/b.png": b""}
    assert open_source(write_folder(tmp_path, files)).keys == ["a.png"]


def test_links_are_followed_and_loops_end(tmp_path):
    write_folder(tmp_path / "real", make_files(["a.png"]))
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "real")
    (root / "again").symlink_to(root)
    (root / "b.png").symlink_to(tmp_path / "real/a.png")
    source = open_source(root)
    assert source.keys == ["link/a.png"]
    assert source.remarks == ["2 links to what is listed already not followed: again/, b.png"]


def test_dangling_link_is_an_error_when_read(tmp_path):
    write_folder(tmp_path, make_files(["a.png"]))
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"b\.png: cannot be read"):
        open_source(tmp_path).read(1)
    with pytest.raises(InputError, match=r"b\.png: cannot be read"):
        open_source(tmp_path).digest()


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: expected images, found nothing in it"):
        open_source(tmp_path)


def test_folder_without_images(tmp_path):
    write_folder(tmp_path, {"b.csv": b"", "c/a.txt": b""})
    with pytest.raises(InputError, match=r"found 2 other files, such as b\.csv; .* \.jpg"):
        open_source(tmp_path)


def test_missing_path(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: expected a folder.*found nothing there"):
        open_source(tmp_path / "nowhere")


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be listed: Permission denied"):
        open_source(tmp_path)


def test_corrupt_file_is_named_with_its_path(tmp_path):
    root = write_folder(tmp_path, make_files(["a.png", "b/c.png"]))
    (root / "b/c.png").write_bytes((root / "b/c.png").read_bytes()[:60])
    source = open_source(root)
    source.read(0)
    with pytest.raises(InputError, match=f"^{root}/b/c.png: expected a whole image"):
        source.read(1)
