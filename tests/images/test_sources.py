"""What can be opened at all; the kinds have tests of their own."""

import pytest

from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from tests.images.files import encode_png, make_images, write_tar, write_zip


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
