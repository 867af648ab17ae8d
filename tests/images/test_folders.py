"""Which files of a folder are images, in which order, and what goes wrong."""

import contextlib
import os
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.images.folders import FolderSource
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


def test_doubling_links_are_followed_once_per_folder(tmp_path):
    # Each of 26 folders has two links to the next: 2**25 paths lead to the image in the last.
    for number in range(26):
        folder = tmp_path / f"store/{number:02d}"
        folder.mkdir(parents=True)
        for name in ("a", "b") if number < 25 else ():
            (folder / name).symlink_to(f"../{number + 1:02d}")
    write_folder(tmp_path / "store/25", make_files(["x.png"]))
    (tmp_path / "root").mkdir()
    (tmp_path / "root/first").symlink_to(tmp_path / "store/00")
    source = open_source(tmp_path / "root")
    assert source.keys == [f"first/{'a/' * 25}x.png"]
    assert source.remarks[0].startswith("25 links to what is listed already not followed")


@pytest.mark.parametrize("listed", [scandir, scandir_backwards])
def test_no_image_is_counted_twice_whatever_the_order_of_the_listing(tmp_path, monkeypatch, listed):
    write_folder(tmp_path, make_files(["z/1.png", "z/2.png"]))
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "b.png").symlink_to(tmp_path / "z/1.png")
    outside = write_folder(tmp_path.parent / f"{tmp_path.name}-outside", make_files(["3.png"]))
    (tmp_path / "c.png").symlink_to(outside / "3.png")
    monkeypatch.setattr(os, "scandir", listed)
    source = open_source(tmp_path)
    assert source.keys == ["c.png", "z/1.png", "z/2.png"]
    assert source.remarks == ["2 links to what is listed already not followed: a/, b.png"]


def test_stores_that_keep_equal_content_once_give_every_image_that_links_to_it(tmp_path):
    store = write_folder(tmp_path / "store", make_files(["1f", "2e"]))
    (tmp_path / "set").mkdir()
    for name, content in (("a.png", "1f"), ("b.png", "2e"), ("c.png", "1f")):
        (tmp_path / "set" / name).symlink_to(store / content)
    source = open_source(tmp_path / "set")
    assert source.keys == ["a.png", "b.png", "c.png"]
    np.testing.assert_array_equal(source.read(0), source.read(2))


def test_hard_links_and_copies_are_images_of_their_own(tmp_path):
    write_folder(tmp_path, make_files(["a.png"]))
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    assert open_source(tmp_path).keys == ["a.png", "b.png"]


@contextlib.contextmanager
def deep_folders(root, name, depth):
    """Folders within folders, made and removed one by one: pathlib and shutil recurse."""
    before = Path.cwd()
    os.chdir(root)
    try:
        for _ in range(depth):
            os.mkdir(name)  # noqa: PTH102
            os.chdir(name)
        yield
        for _ in range(depth):
            os.chdir("..")
            os.rmdir(name)  # noqa: PTH106
    finally:
        os.chdir(before)


def test_folders_may_be_deeper_than_pythons_stack(tmp_path):
    depth = sum(1 for _ in traceback.walk_stack(None)) + 150
    limit = sys.getrecursionlimit()
    with deep_folders(tmp_path, "d", depth):
        sys.setrecursionlimit(depth)
        Path("a.png").write_bytes(make_files(["a.png"])["a.png"])
        (key,) = open_source(tmp_path).keys
        sys.setrecursionlimit(limit)
        Path("a.png").unlink()
    assert key == "d/" * depth + "a.png"


def test_folders_deeper_than_a_path_can_name_are_an_error(tmp_path):
    with (
        deep_folders(tmp_path, "d" * 250, 20),
        pytest.raises(InputError, match="cannot be listed: File name too long"),
    ):
        open_source(tmp_path)


def test_name_that_is_no_unicode(tmp_path):
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    source = open_source(write_folder(tmp_path, make_files([name])))
    np.testing.assert_array_equal(source.read(0), make_images(1)[0])
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="empty file"):
        source.read(0)


def test_pipes_and_devices_are_errors_and_no_hang(tmp_path):
    write_folder(tmp_path, make_files(["a.png"]))
    os.mkfifo(tmp_path / "b.png")
    os.mkfifo(tmp_path / "no image")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    source = open_source(tmp_path)
    assert source.others == ["no image"]
    for index in (1, 2):
        with pytest.raises(InputError, match=r"[bc]\.png: expected a file, found a device, pipe"):
            source.read(index)
        with pytest.raises(InputError, match=r"[bc]\.png: expected a file, found a device, pipe"):
            source.fingerprint(index)


def test_file_larger_than_any_image_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(InputError, match=r"a\.png: expected at most 1073741824 bytes"):
        open_source(tmp_path).read(0)


def test_service_folders_are_left_out_and_said_so(tmp_path):
    left_out = [
        "@eaDir/a.png",
        "$RECYCLE.BIN/old.png",
        "b/Thumbs/@eaDir/c/d.png",
        ".thumbnails/e.png",
    ]
    left_out += ["System Volume Information/f.png", "lost+found/g.png", ".ipynb_checkpoints/h.png"]
    source = open_source(write_folder(tmp_path, make_files(["a.png", "b/c.png", *left_out])))
    assert source.keys == ["a.png", "b/c.png"]
    assert source.remarks[0].startswith("7 folders left out with all in it: $RECYCLE.BIN/, .ipynb_")
    assert "b/Thumbs/@eaDir/" in source.others


def test_files_that_are_not_scored_are_named(tmp_path):
    others = dict.fromkeys(["c.heic", "d.jxl", "e.npy", "notes.txt", "b/readme"], b"x")
    source = open_source(write_folder(tmp_path, make_files(["a.png"]) | others))
    assert source.others == ["b/readme", "c.heic", "d.jxl", "e.npy", "notes.txt"]
    assert source.remarks == ["5 other files not scored: b/readme, c.heic, d.jxl, e.npy, notes.txt"]


@pytest.mark.parametrize("name", ["002", "003.png.1", "004.JPG_large", "a/b.bak", "x.txt"])
def test_image_under_another_name_is_an_error(tmp_path, name):
    write_folder(tmp_path, make_files(["000.png", name]))
    with pytest.raises(
        InputError, match=f"images to be named as such, .* content {name} .PNG.; give"
    ):
        open_source(tmp_path)


def test_captions_beside_images_are_not_all_opened(tmp_path, monkeypatch):
    captions = {f"{i:04d}.txt": b"a cat" for i in range(150)}
    root = write_folder(tmp_path, make_files(["a.png"]) | captions | {"x.bak": b""})
    opened = []
    read_head = FolderSource.read_head
    monkeypatch.setattr(
        FolderSource, "read_head", lambda self, key: (opened.append(key), read_head(self, key))[1]
    )
    assert len(open_source(root).others) == 151
    assert opened == [*sorted(captions)[:100], "x.bak"]


def test_several_images_of_a_name_are_remarked_or_chosen_from(tmp_path):
    keys = ["000.left.png", "000.right.png", "001.left.png", "001.right.png"]
    write_folder(tmp_path, make_files(keys))
    assert open_source(tmp_path).keys == keys
    assert "(left.png, right.png): all are scored" in open_source(tmp_path).remarks[0]
    source = open_source(tmp_path, image_key="left.png")
    assert source.keys == ["000.left.png", "001.left.png"]
    assert source.others == ["000.right.png", "001.right.png"]
    assert open_source(tmp_path, image_key="*").remarks == []


def test_files_beside_the_images_of_a_folder_are_no_labels(tmp_path):
    files = make_files(["a/0.png"]) | {"a/0.cls": b"7", "a/0.json": b'{"label": 7}'}
    assert open_source(write_folder(tmp_path, files)).labels == ["a"]


def test_labels_of_a_folder_of_stylegans_are_those_of_its_json(tmp_path):
    files = make_files(["00000/img0.png", "00000/img1.png"])
    content = b'{"labels": [["00000/img0.png", 4], ["00000/img1.png", 2]]}'
    assert open_source(write_folder(tmp_path, files | {"dataset.json": content})).labels == [
        "4",
        "2",
    ]
