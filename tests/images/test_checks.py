"""Ranges that no set of pictures has, and ordinary sets that must not be warned of."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from jaxfid.images.checks import warn_of_range
from jaxfid.images.sources import open_source
from tests.images.files import make_images, write_folder

UNIT = make_images(20) / 255


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (UNIT.astype(np.uint8), "0 and 1; samples in 0..1"),
        (UNIT.round().astype(np.uint8), "0 and 1; samples in 0..1"),
        ((UNIT * 2 - 1).astype(np.int8).astype(np.uint8), "0, 1 and 255, as -1..1"),
        (((UNIT + 1) * 127.5).round().astype(np.uint8), r"128\.\.255, as samples in 0\.\.1"),
        (np.zeros((3, 4, 4, 3), np.uint8), "0 and 1"),
    ],
)
def test_ranges_that_no_picture_has_are_warned_of(images, found):
    (warning,) = warn_of_range(images)
    assert re.search(found, warning)


def test_12_bits_in_files_of_16_are_warned_of(tmp_path):
    grey = np.random.default_rng(0).integers(0, 4096, (9, 11), dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    source = open_source(write_folder(tmp_path, {"a.png": buffer.getvalue()}))
    (warning,) = warn_of_range([source.read(0)])
    assert "0..15, as 12 bits or fewer" in warning


@pytest.mark.parametrize(
    "images",
    [
        make_images(20),
        (make_images(20) > 127).astype(np.uint8) * 255,  # black and white
        make_images(20) // 4,  # dark
        make_images(20) // 4 + 120,  # pale
    ],
)
def test_pictures_are_not_warned_of(images):
    assert warn_of_range(images) == []


def test_one_ordinary_picture_is_enough():
    images = UNIT.astype(np.uint8)
    images[15] = make_images(1)[0]
    assert warn_of_range(images) == []
    images[15] = 0
    assert warn_of_range(images)


def test_no_images_are_not_warned_of():
    assert warn_of_range([]) == []
