"""Iterables and generators, which can be read but once."""

import gc
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from tests.images.files import make_images

IMAGES = make_images(12)


@pytest.fixture(autouse=True)
def spool_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def draw():
    yield from IMAGES


@pytest.mark.parametrize(
    "images", [draw, draw(), iter(IMAGES), map(jnp.asarray, IMAGES), iter([IMAGES[:5], IMAGES[5:]])]
)
def test_iterables_are_the_images_they_give(images):
    source = open_source(images)
    assert source.keys == open_source(IMAGES).keys
    assert source.labels is None
    for index in (7, 0, 7):  # at random, and more than once
        np.testing.assert_array_equal(source.read(index), IMAGES[index])


def test_generator_function_is_named():
    assert open_source(draw).name == "draw"


def test_sizes_and_channels_may_be_mixed():
    source = open_source(iter([IMAGES[0], IMAGES[1, :2], IMAGES[2, :, :, 0]]))
    assert source.read(1).shape == (2, 7, 3)
    np.testing.assert_array_equal(source.read(2)[:, :, 1], IMAGES[2, :, :, 0])


def test_digest_is_of_the_pixels():
    changed = IMAGES.copy()
    changed[3, 0, 0, 0] ^= 1
    same, other = open_source(iter(IMAGES.copy())), open_source(iter(changed))
    assert open_source(draw).digest() == same.digest() != other.digest()


def test_file_has_no_name_that_could_stay_after_a_kill(spool_folder):
    names_while_drawing = []

    def watched():
        for image in IMAGES:
            names_while_drawing.extend(spool_folder.iterdir())
            yield image

    np.testing.assert_array_equal(open_source(watched).read(3), IMAGES[3])
    assert not names_while_drawing
    assert not list(spool_folder.iterdir())


def test_full_disk_is_an_error_that_names_the_folder(spool_folder, monkeypatch):
    class FullDisk:
        def tell(self):
            return 0

        def write(self, data):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullDisk())
    with pytest.raises(InputError, match=f"{spool_folder}: cannot be written: No space left"):
        open_source(draw)


def test_file_is_closed_with_the_source(monkeypatch):
    files = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda **kwargs: (files.append(make(**kwargs)), files[0])[1]
    )
    source = open_source(draw)
    assert not files[0].closed
    del source
    gc.collect()
    assert files[0].closed


def test_images_of_pillows_are_images():
    source = open_source(Image.fromarray(image) for image in IMAGES)
    np.testing.assert_array_equal(source.read(3), IMAGES[3])


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([], "expected images, found none in it"),
        (
            [IMAGES[0], "x"],
            "item 1: expected an array, an image of Pillow's or encoded bytes, found str",
        ),
        ([IMAGES[0] / 255], "item 0: expected uint8 .* found dtype float64"),
        ([IMAGES[0], IMAGES[0, 0]], "item 1: .* found shape"),
    ],
)
def test_what_holds_no_images_is_an_error_and_leaves_no_file(items, found, spool_folder):
    with pytest.raises(InputError, match=f"list_iterator:? {found}"):
        open_source(iter(items))
    gc.collect()
    assert not [path for path in spool_folder.iterdir() if Path(path).is_file()]
