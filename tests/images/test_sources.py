"""What can be opened at all; the kinds have tests of their own."""

from pathlib import Path

import fsspec
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.images.identity import identify_source
from jaxfid.images.sources import open_source
from tests.images.files import (
    encode_png,
    make_files,
    make_images,
    read_all,
    write_folder,
    write_tar,
    write_zip,
)


def test_source_comes_back_as_it_is():
    source = open_source(make_images(2))
    assert open_source(source) is source


@pytest.mark.parametrize("suffix", [".ZIP", ".zip"])
def test_suffix_in_any_case(tmp_path, suffix):
    path = write_zip(tmp_path / f"x{suffix}", {"a.png": b""})
    assert open_source(path).keys == ["a.png"]
    path = write_tar(tmp_path / "x.TAR", {"a.png": b""})
    assert open_source(str(path)).keys == ["a.png"]


def test_file_of_another_kind(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(make_images(1)[0]))
    with pytest.raises(InputError, match=r"a\.png: expected a folder, .* a file of another kind"):
        open_source(tmp_path / "a.png")


def test_empty_path_is_not_the_current_folder():
    with pytest.raises(InputError, match="found nothing there"):
        open_source("")


@pytest.mark.parametrize(
    ("images", "kind"), [(3, "int"), (None, "NoneType"), (lambda: 3, "int"), (int, "int")]
)
def test_object_of_another_kind(images, kind):
    with pytest.raises(InputError, match=f"images: expected a folder, .* found {kind}"):
        open_source(images)


@pytest.mark.parametrize("images", [{"a": 1}, b"bytes"])
def test_dicts_and_bytes_are_no_sequences_of_images(images):
    with pytest.raises(InputError, match="images: expected a folder"):
        open_source(images)


def test_list_of_image_paths_keeps_its_order(tmp_path):
    write_folder(tmp_path, make_files(["a.png", "b/c.png", "d.png"]))
    paths = [tmp_path / "d.png", str(tmp_path / "a.png"), tmp_path / "b/c.png"]
    source = open_source(paths)
    assert source.keys == [str(path) for path in paths]
    assert source.labels is None
    for index, position in enumerate((2, 0, 1)):
        np.testing.assert_array_equal(source.read(index), make_images(3)[position])
    assert open_source(tuple(paths)).digest() == source.digest()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a.png", "missing.png"], r"found .*missing\.png"),
        (["a.png", "x.tar"], "found several kinds"),
        (["a.png", "notes.txt"], r"found .*notes\.txt"),
        (["a.png", "a.png"], "found one twice"),
    ],
)
def test_list_of_other_paths_is_refused(tmp_path, names, found):
    write_folder(tmp_path, make_files(["a.png"]) | {"notes.txt": b""})
    write_tar(tmp_path / "x.tar", make_files(["a.png"]))
    with pytest.raises(InputError, match="images: expected .*" + found):
        open_source([tmp_path / name for name in names])


def test_braces_stand_for_numbered_shards(tmp_path):
    for number in range(9, 12):
        write_tar(tmp_path / f"set-{number:03d}.tar", make_files(["a.png", "b.png"]))
    source = open_source(f"{tmp_path}/set-{{009..011}}.tar")
    assert len(source) == 6
    assert source.digest() == open_source(sorted(tmp_path.iterdir())).digest()
    with pytest.raises(InputError, match=r"expected a list of existing .* found .*set-012\.tar"):
        open_source(f"{tmp_path}/set-{{009..012}}.tar")
    for numbers in ("{3..1}", "{0..999999999}"):
        with pytest.raises(InputError, match="expected a range of 1 to 100000 numbers"):
            open_source(f"{tmp_path}/set-{numbers}.tar")


@pytest.mark.parametrize("as_list", [False, True])
def test_folder_or_list_of_array_files_is_one_set(tmp_path, as_list):
    images = make_images(10)
    np.savez(tmp_path / "samples_0.npz", images[:4], np.arange(4))
    np.savez(tmp_path / "samples_1.npz", images[4:], np.arange(6))
    source = open_source(sorted(tmp_path.iterdir()) if as_list else tmp_path)
    assert [key.rpartition("/")[2] for key in source.keys] == [*"0123", *"012345"]
    assert source.labels == [*"0123", *"012345"]
    np.testing.assert_array_equal(read_all(source), images)
    assert len({source.fingerprint(index) for index in range(10)}) == 2


def test_other_files_beside_array_files_are_named(tmp_path):
    np.save(tmp_path / "samples.npy", make_images(3))
    (tmp_path / "log.txt").write_text("x")
    source = open_source(tmp_path)
    assert len(source) == 3
    assert source.others == ["log.txt"]
    assert source.remarks == ["1 other file not scored: log.txt"]


@pytest.mark.parametrize("images", [make_images(2), list(make_images(2)), iter(make_images(2))])
def test_choice_of_an_image_needs_samples(images):
    with pytest.raises(InputError, match=r"image_key: expected a folder, \.zip or \.tar file"):
        open_source(images, image_key="left.png")


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "a\0b", "\ud800"])
def test_names_that_no_file_has(name):
    with pytest.raises(InputError, match=r"cannot be read|found nothing there"):
        open_source(name)


def test_array_of_more_images_than_keys_can_be_made_for():
    images = np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (10**12, 1, 1, 3))
    with pytest.raises(InputError, match="found more than 50,000,000 images"):
        open_source(images)


@pytest.fixture
def bucket():
    """Fsspec's store in memory, with whatever a test writes, emptied behind it."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


FILES = make_files(["a/0.png", "a/1.png", "b/2.png"])


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "npz", "npy", "shards", "list"])
def test_sets_in_a_bucket_are_read_where_they_lie(tmp_path, bucket, kind):
    images = make_images(3)
    if kind in ("folder", "list"):
        write_folder(tmp_path / "x", FILES | {"a/note.txt": b"", "@eaDir/t.png": b""})
    elif kind in ("zip", "tar"):
        (write_zip if kind == "zip" else write_tar)(tmp_path / f"x.{kind}", FILES)
    elif kind == "shards":
        (tmp_path / "x").mkdir()
        for number in range(3):
            np.save(tmp_path / f"x/{number}.npy", images[number : number + 1])
    else:
        (np.save if kind == "npy" else np.savez)(tmp_path / f"x.{kind}", images)
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        bucket.pipe_file(f"/bucket/{path.relative_to(tmp_path)}", path.read_bytes())
    local = next(path for path in tmp_path.iterdir())
    url = f"memory://bucket/{local.name}"
    paths = [f"{url}/{key}" for key in FILES]
    source = open_source(paths if kind == "list" else url)
    np.testing.assert_array_equal(read_all(source), images)
    assert source.keys == (paths if kind == "list" else open_source(local).keys)
    if kind not in ("list", "shards", "npy"):
        assert source.others == open_source(local).others
        assert source.labels == open_source(local).labels
    first = identify_source(source)
    assert identify_source(open_source(paths if kind == "list" else url)) == first


def test_replaced_object_is_another_set(bucket):
    for key, data in FILES.items():
        bucket.pipe_file(f"/bucket/x/{key}", data)
    first = identify_source(open_source("memory://bucket/x"))
    bucket.pipe_file("/bucket/x/a/1.png", FILES["a/1.png"])
    assert identify_source(open_source("memory://bucket/x")) != first


def test_place_that_nothing_serves_is_an_error_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nowhere://"):
        open_source("nowhere://bucket/x")
    assert not list(tmp_path.iterdir())
