"""Arrays in memory and sequences of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from tests.images.files import make_images

IMAGES = make_images(12)


def test_array_of_colour_images():
    source = open_source(IMAGES)
    assert source.keys == [f"{i:02d}" for i in range(12)]
    assert source.labels is None
    assert source.name == "array of shape (12, 5, 7, 3)"
    np.testing.assert_array_equal([source.read(i) for i in range(12)], IMAGES)


def test_array_of_grey_images_is_repeated_in_three_channels():
    source = open_source(IMAGES[..., 0])
    np.testing.assert_array_equal(source.read(3), np.stack([IMAGES[3, :, :, 0]] * 3, axis=2))


def test_array_in_memory_is_not_copied():
    assert np.shares_memory(open_source(IMAGES).read(0), IMAGES)


def test_array_on_a_device():
    np.testing.assert_array_equal(open_source(jnp.asarray(IMAGES)).read(4), IMAGES[4])


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (IMAGES / 255, r"dtype float64 \(make it uint8 as your paper does"),
        (IMAGES.astype(np.int64), r"dtype int64 \(convert with \.astype\(np\.uint8\)"),
        (IMAGES.astype(object), "dtype object"),
        (IMAGES > 3, "dtype bool"),
        (IMAGES.transpose(0, 3, 1, 2), r"shape \(12, 3, 5, 7\) \(channels first: use x.transpose"),
        (IMAGES[..., :1], r"shape \(12, 5, 7, 1\) \(one channel: use x\[\.\.\., 0\]"),
        (np.zeros((2, 5, 7, 4), np.uint8), r"shape \(2, 5, 7, 4\) \(four channels: drop alpha"),
        (IMAGES[0], r"shape \(5, 7, 3\) \(one image\? use x\[None\]"),
        (IMAGES[0, :, :, 0], r"shape \(5, 7\)"),
        (np.array(3, np.uint8), r"shape \(\)"),
        (IMAGES[:0], r"no images, its shape is \(0, 5, 7, 3\)"),
        (IMAGES[:, :0], r"no images, its shape is \(12, 0, 7, 3\)"),
    ],
)
def test_array_that_holds_no_images(array, found):
    with pytest.raises(InputError, match="expected uint8 images of shape .* found .*" + found):
        open_source(array)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(InputError, match=r"dtype float32.*; shape \(12, 3, 5, 7\)"):
        open_source(IMAGES.transpose(0, 3, 1, 2).astype(np.float32))


def test_sequence_of_mixed_sizes_and_channels():
    images = [IMAGES[0], IMAGES[1, :2], IMAGES[2, :, :, 0]]
    source = open_source(images)
    assert source.keys == ["0", "1", "2"]
    np.testing.assert_array_equal(source.read(1), images[1])
    np.testing.assert_array_equal(source.read(2)[:, :, 2], images[2])
    assert source.digest() != source.take([0, 1]).digest()


class Lazy:
    """A sequence that makes its images when asked, and remembers for which."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        self.asked.append(index)
        return IMAGES[index]


def test_sequence_is_read_only_when_asked():
    images = Lazy()
    source = open_source(images)
    source.digest()
    assert set(images.asked) <= {0, 11}
    np.testing.assert_array_equal(source.read(5), IMAGES[5])


def test_item_that_is_no_image_is_named():
    with pytest.raises(InputError, match=r"sequence of 1 images\[0\]: .* found dtype float64"):
        open_source([IMAGES[0] / 255])
    with pytest.raises(InputError, match=r"sequence of 2 images\[1\]: .* found shape"):
        open_source([IMAGES[0], IMAGES[0, 0]]).read(1)


def test_images_of_pillows_are_read_by_the_rules_of_files():
    # NumPy would take the palette's indices for grey levels.
    palette = Image.fromarray(IMAGES[0]).quantize(8)
    grey = Image.fromarray((IMAGES[1, :, :, 0].astype(np.uint16) << 8) + 7)
    source = open_source([palette, grey, IMAGES[2]])
    np.testing.assert_array_equal(source.read(0), np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(source.read(1)[:, :, 1], IMAGES[1, :, :, 0])
    np.testing.assert_array_equal(source.read(2), IMAGES[2])


def test_image_of_pillows_without_a_range_is_refused():
    with pytest.raises(InputError, match=r"sequence of 1 images\[0\]: .* found floats"):
        open_source([Image.new("F", (4, 4))])


def test_empty_sequence():
    with pytest.raises(InputError, match="expected images, found an empty sequence"):
        open_source([])


def test_array_that_numpy_cannot_read():
    class OnAnotherDevice:
        def __dlpack__(self):
            raise NotImplementedError

        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert cuda tensor")

    with pytest.raises(InputError, match="found OnAnotherDevice: can't convert cuda tensor"):
        open_source(OnAnotherDevice())
