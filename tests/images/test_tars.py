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
    with pytest.raises(InputError, match=r"found both; s[01]\.tar is one"):
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


def test_tar_cut_anywhere_is_an_error(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(["a.png", "b.png", "c.png"]))
    data = path.read_bytes()
    used = max(i for i, byte in enumerate(data) if byte) // 512 * 512 + 512
    for length in range(0, used + 1024, 256):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"x\.tar: "):
            open_source(path)
    path.write_bytes(data[: used + 1024])  # both blocks of the end are there, only padding is not
    assert len(open_source(path)) == 3


def test_what_follows_the_end_of_a_tar_is_not_dropped(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(["a.png", "b.png"]))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(
        InputError, match=r"x\.tar: expected one tar file, found more .* b\.png; join"
    ):
        open_source(path)


def test_tar_entry_of_negative_size(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(["a.png"]))
    data = bytearray(path.read_bytes())
    data[124:136] = b"\xff" * 11 + b"\x00"  # base 256, as GNU writes what octal digits cannot hold
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.tar: "):
        open_source(path)


def test_damage_anywhere_is_found_or_in_the_bytes_of_a_file(tmp_path):
    data = write_tar(tmp_path / "x.tar", make_files(["a.png", "b.png"])).read_bytes()[:5120]
    rng = np.random.default_rng(0)
    for position in rng.choice(len(data), 80, replace=False):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.integers(8)
        (tmp_path / "x.tar").write_bytes(damaged)
        try:
            source = open_source(tmp_path / "x.tar")
            read_all(source)
        except InputError as error:
            assert "x.tar" in str(error)
        else:  # a field that says nothing of the images, or padding behind their bytes
            assert len(source) == 2


@pytest.mark.parametrize("error", [RecursionError("deep"), ValueError("odd"), IndexError("range")])
def test_whatever_the_listing_raises_is_an_error_of_the_file(tmp_path, monkeypatch, error):
    def fail(_):
        raise error

    path = write_tar(tmp_path / "x.tar", make_files(["a.png"]))
    monkeypatch.setattr(tarfile.TarFile, "next", fail)
    with pytest.raises(InputError, match=rf"x\.tar: expected a whole, uncompressed tar .* {error}"):
        open_source(path)


VIEWS = ["0.left.png", "0.right.png", "1.left.png", "1.right.png"]


def test_samples_of_several_images_ask_for_a_choice(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(VIEWS))
    with pytest.raises(
        InputError, match=r"found several: left\.png, right\.png; choose .*='left\.png'"
    ):
        open_source(path)
    source = open_source(path, image_key="right.png")
    assert source.keys == ["0.right.png", "1.right.png"]
    assert source.others == ["0.left.png", "1.left.png"]
    np.testing.assert_array_equal(source.read(1), make_images(4)[3])
    assert open_source(path, image_key="*").keys == VIEWS
    with pytest.raises(
        InputError, match=r"image_key: expected one of left\.png, .* found depth\.png"
    ):
        open_source(path, image_key="depth.png")


@pytest.mark.parametrize(
    "keys",
    [["0.jpg", "0.mask.png"], ["a/0.png", "a/0.depth.tiff"], ["0.png", "0.seg.png", "1.png"]],
)
def test_masks_and_depths_are_not_scored_unasked(tmp_path, keys):
    with pytest.raises(InputError, match="expected one image in each sample, found several"):
        open_source(write_tar(tmp_path / "x.tar", dict.fromkeys(keys, b"")))


@pytest.mark.parametrize(
    "keys",
    [
        ["clip.0001.png", "clip.0002.png", "clip.0003.png"],
        ["at_0.5_1.png", "at_0.5_2.png"],
        ["a/0.png", "b/0.png"],
        ["v1.2.final.png", "v1.3.final.png"],
        [f"model.step_{i:02d}.png" for i in range(20)],
    ],
)
def test_names_with_dots_are_images_of_their_own(tmp_path, keys):
    files = make_files(keys)
    assert open_source(write_tar(tmp_path / "x.tar", files)).keys == keys


def test_labels_are_those_of_cls_members(tmp_path):
    files = make_files(["a/0.png", "a/1.png"]) | {"a/0.cls": b"7\n", "a/1.cls": b"3"}
    source = open_source(write_tar(tmp_path / "x.tar", files))
    assert source.labels == ["7", "3"]
    assert source.others == ["a/0.cls", "a/1.cls"]


def test_labels_are_those_of_json_members(tmp_path):
    texts = {"0.json": b'{"label": 7, "caption": "a"}', "1.json": b'{"label": "cat"}'}
    source = open_source(write_tar(tmp_path / "x.tar", make_files(["0.png", "1.png"]) | texts))
    assert source.labels == ["7", "cat"]
    captions = {"0.json": b'{"caption": "a"}', "1.json": b'{"caption": "b"}'}
    source = open_source(write_tar(tmp_path / "y.tar", make_files(["0.png", "1.png"]) | captions))
    assert source.labels is None


def test_labels_of_several_shards(tmp_path):
    for number in (0, 1):
        files = make_files(["0.png", "1.png"]) | {"0.cls": b"%d" % number, "1.cls": b"9"}
        write_tar(tmp_path / f"{number}.tar", files)
    assert open_source(tmp_path).labels == ["0", "9", "1", "9"]


def test_class_that_is_none_is_named(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(["0.png"]) | {"0.cls": b"\xff"})
    with pytest.raises(InputError, match=r"x\.tar/0\.cls: expected the number or name of a class"):
        _ = open_source(path).labels


def test_links_that_are_no_images_are_named(tmp_path):
    path = write_tar(tmp_path / "x.tar", make_files(["a.png"]))
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        archive.addfile(link)
    assert open_source(path).others == ["b"]


def test_images_under_other_names_are_an_error(tmp_path):
    files = make_files(["a.png", "b.png.1"])
    with pytest.raises(InputError, match=r"named as such, found .* b\.png\.1 \(PNG\)"):
        open_source(write_tar(tmp_path / "x.tar", files))


def test_many_other_files_are_counted_by_kind(tmp_path):
    texts = {f"{i:03d}.txt": b"" for i in range(12)} | {"x": b""}
    source = open_source(write_tar(tmp_path / "x.tar", make_files(["a.png"]) | texts))
    assert source.remarks == [
        "13 other files not scored: 12 .txt (000.txt), 1 without extension (x)"
    ]
