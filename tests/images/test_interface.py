"""Subsets and digests, the same for every kind of source."""

import shutil

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from tests.images.files import make_files, make_images, write_folder, write_tar, write_zip

KEYS = ["a/0.png", "a/1.png", "b/2.png"]


def test_the_same_files_are_the_same_source_however_they_are_kept(tmp_path):
    files = make_files(KEYS)
    kept = [
        write_folder(tmp_path / "folder", files),
        write_zip(tmp_path / "images.zip", files),
        write_tar(tmp_path / "images.tar", files),
    ]
    for path in kept:
        source = open_source(path)
        assert source.name == str(path)
        assert source.keys == KEYS
        assert source.labels == ["a", "a", "b"]
        np.testing.assert_array_equal([source.read(i) for i in range(3)], make_images(3))


def test_subset_has_the_order_given(tmp_path):
    source = open_source(write_folder(tmp_path, make_files(KEYS)))
    subset = source.take(np.array([2, 0]))
    assert subset.keys == ["b/2.png", "a/0.png"]
    assert subset.labels == ["b", "a"]
    np.testing.assert_array_equal(subset.read(0), source.read(2))
    assert subset.take([1]).keys == ["a/0.png"]
    assert open_source(subset) is subset


def test_subset_of_a_source_without_labels_has_none():
    assert open_source(make_images(3)).take([1]).labels is None


@pytest.mark.parametrize(
    ("indices", "found"), [([0, 3], "3 outside"), ([-1], "-1 outside"), ([1, 1], "one twice")]
)
def test_subset_of_other_positions_is_an_error(indices, found):
    with pytest.raises(InputError, match=f"expected distinct 0..2, found {found}"):
        open_source(make_images(3)).take(indices)


def test_digest_does_not_depend_on_where_the_files_lie(tmp_path):
    first = write_folder(tmp_path / "first", make_files(KEYS))
    second = shutil.copytree(first, tmp_path / "elsewhere/second")
    assert open_source(first).digest() == open_source(second).digest()


def test_digest_changes_with_names_sizes_and_selection(tmp_path):
    files = make_files(KEYS)
    source = open_source(write_folder(tmp_path / "first", files))
    renamed = {key.replace("2", "3"): data for key, data in files.items()}
    longer = files | {KEYS[0]: files[KEYS[0]] + b"\0"}
    digests = {
        source.digest(),
        source.take([0, 1]).digest(),
        source.take([1, 0]).digest(),
        open_source(write_folder(tmp_path / "second", renamed)).digest(),
        open_source(write_folder(tmp_path / "third", longer)).digest(),
    }
    assert len(digests) == 5


def test_digest_of_an_archive_changes_with_pixels(tmp_path):
    files = dict.fromkeys(["0.png"], b"123"), dict.fromkeys(["0.png"], b"124")
    first, second = (write_zip(tmp_path / f"{i}.zip", f) for i, f in enumerate(files))
    assert open_source(first).digest() != open_source(second).digest()


def test_digest_takes_names_that_are_no_unicode(tmp_path):
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    source = open_source(write_folder(tmp_path, make_files([name])))
    assert len(source.digest()) == 64
