"""Laws of the resize, a float64 oracle per rule, and the reference tools' values at 299 pixels."""

import concurrent.futures
import dataclasses
import functools
import pathlib
import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.preprocessing.protocol import CLEAN, LEGACY_PYTORCH, LEGACY_TENSORFLOW
from jaxfid.preprocessing.resize import (
    axis_positions,
    batch_positions,
    normalise,
    reduce_on_host,
    resize,
)

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
CANVAS_PX = 512
SIZES = [(1, 1), (2, 2), (1, 9), (17, 45), (32, 32), (299, 299), (300, 200), (512, 333)]
# float32 weights and sums: a few roundings of 255 (1.5e-5 each) in the bilinear rules, some ten in
# the bicubic, whose weights have both signs. Measured: 5e-5 and 1.1e-4.
ROUNDING = {"legacy_tensorflow": 1e-4, "legacy_pytorch": 1e-4, "clean": 3e-4}

# The Inception protocols of 299 pixels; tests/preprocessing/test_input_rules.py has the others.
every_protocol = pytest.mark.parametrize(
    "protocol", [LEGACY_TENSORFLOW, LEGACY_PYTORCH, CLEAN], ids=lambda protocol: protocol.name
)
bilinear = pytest.mark.parametrize(
    "protocol", [LEGACY_TENSORFLOW, LEGACY_PYTORCH], ids=lambda protocol: protocol.name
)
jitted = functools.partial(jax.jit, static_argnames="protocol")(resize)


def make_noise(height, width):
    """The images of scripts/fixtures/make_resize_fixtures.py."""
    rng = np.random.default_rng([height, width])
    return rng.integers(0, 2, (height, width, 3), dtype=np.uint8) * np.uint8(255)


def make_canvas(images, side=CANVAS_PX, fill=0):
    canvas = np.full((len(images), side, side, 3), fill, images[0].dtype)
    for place, image in zip(canvas, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return canvas


def resize_canvas(images, protocol, **options):
    sizes = [image.shape[:2] for image in images]
    canvas = make_canvas(images, **options)
    return np.asarray(jitted(canvas, batch_positions(protocol, sizes), protocol=protocol))


def resize_one(image, protocol):
    positions = batch_positions(protocol, [image.shape[:2]])
    return np.asarray(jitted(image[None], positions, protocol=protocol))[0]


def oracle_matrix(protocol, size):
    """The (299, size) matrix in float64, written pixel by pixel as the tools' own loops are."""
    matrix = np.zeros((299, size))
    for y, row in enumerate(matrix):
        if protocol is CLEAN:
            scale = size / 299
            stretch = max(scale, 1.0)
            for x in range(size):
                t = abs(x + 0.5 - (y + 0.5) * scale) / stretch
                if t < 1:
                    row[x] = 1.5 * t**3 - 2.5 * t**2 + 1
                elif t < 2:
                    row[x] = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
            row /= row.sum()
        else:
            half = 0.5 if protocol is LEGACY_PYTORCH else 0.0
            position = max((y + half) * size / 299 - half, 0.0)
            low = int(position)
            row[low] += 1 - (position - low)
            row[min(low + 1, size - 1)] += position - low
    return matrix


def oracle_resize(image, protocol):
    rows, cols = (oracle_matrix(protocol, size) for size in image.shape[:2])
    return np.einsum("yh,hwc,xw->yxc", rows, image.astype(np.float64), cols, optimize=True)


# Laws


@every_protocol
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_of_299_pixels_comes_back_unchanged(protocol, dtype):
    image = (np.random.default_rng(0).random((299, 299, 3)) * 255).astype(dtype)
    np.testing.assert_array_equal(resize_one(image, protocol), image)
    np.testing.assert_array_equal(resize_canvas([image], protocol)[0], image)
    np.testing.assert_array_equal(reduce_on_host(image, protocol), image)


@every_protocol
def test_a_constant_image_stays_constant(protocol):
    resized = resize_canvas([np.full((*size, 3), 203, np.uint8) for size in SIZES], protocol)
    np.testing.assert_allclose(resized, 203, rtol=0, atol=ROUNDING[protocol.name])


@every_protocol
def test_it_is_linear(protocol):
    # Within 64..192 the bicubic's overshoot, below a quarter of the contrast, meets no clipping.
    rng = np.random.default_rng(1)
    first, second = rng.uniform(64, 192, (2, 45, 32, 3)).astype(np.float32)
    mixed = resize_one(0.25 * first + 0.75 * second, protocol)
    expected = 0.25 * resize_one(first, protocol) + 0.75 * resize_one(second, protocol)
    np.testing.assert_allclose(mixed, expected, rtol=0, atol=ROUNDING[protocol.name])


@every_protocol
def test_turning_the_image_turns_the_result(protocol):
    image = make_noise(17, 45)
    turned = resize_one(np.ascontiguousarray(image.swapaxes(0, 1)), protocol).swapaxes(0, 1)
    np.testing.assert_allclose(
        turned, resize_one(image, protocol), rtol=0, atol=ROUNDING[protocol.name]
    )


@every_protocol
def test_a_canvas_changes_nothing(protocol):
    images = [make_noise(*size) for size in [(17, 45), (512, 333)]]
    for image, resized in zip(images, resize_canvas(images, protocol), strict=True):
        expected = resize_one(image, protocol)
        np.testing.assert_allclose(resized, expected, rtol=0, atol=ROUNDING[protocol.name])


@every_protocol
def test_what_lies_beside_the_image_counts_for_nothing(protocol):
    images = [make_noise(*size) for size in SIZES]
    black, white = (resize_canvas(images, protocol, fill=fill) for fill in (0, 255))
    np.testing.assert_array_equal(black, white)


@every_protocol
def test_a_batch_is_its_images_one_at_a_time(protocol):
    images = [make_noise(*size) for size in [(32, 32), (17, 45), (64, 50)]]
    canvas = make_canvas(images, side=64)
    positions = batch_positions(protocol, [image.shape[:2] for image in images])
    single = jax.jit(
        lambda canvas, positions: jax.lax.map(
            lambda one: resize(one[0][None], jax.tree.map(lambda x: x[None], one[1]), protocol)[0],
            (canvas, positions),
        )
    )(canvas, positions)
    batch = jitted(canvas, positions, protocol=protocol)
    np.testing.assert_allclose(single, batch, rtol=0, atol=ROUNDING[protocol.name])


@every_protocol
def test_padding_is_finite(protocol):
    padding = np.zeros((1, 1, 3), np.uint8)
    resized = resize_canvas([make_noise(32, 32), padding], protocol, side=32)
    np.testing.assert_array_equal(resized[1], 0)


def test_one_compiled_shape_serves_every_size():
    traces = []

    @jax.jit
    def traced(canvas, positions):
        traces.append(canvas.shape)
        return resize(canvas, positions, CLEAN)

    for sizes in [(8, 8), (64, 17)], [(64, 64), (1, 1)]:
        traced(make_canvas([make_noise(*s) for s in sizes], 64), batch_positions(CLEAN, sizes))
    assert traces == [(2, 64, 64, 3)]


@every_protocol
def test_the_products_ask_for_full_float32(protocol):
    positions = batch_positions(protocol, [(32, 32)])
    lowered = jitted.lower(jnp.zeros((1, 32, 32, 3), jnp.uint8), positions, protocol=protocol)
    products = re.findall(r"dot_general.*", lowered.as_text())
    assert len(products) == 2
    assert all("precision = [HIGHEST, HIGHEST]" in product for product in products)


# The plain formula in float64


@every_protocol
def test_it_is_the_plain_formula_at_many_sizes(protocol):
    # Every window of rows that a block of output pixels may reach, at sizes that share no factor.
    sizes = [(int(s), 513 - int(s)) for s in np.random.default_rng(2).permutation(512)[:24] + 1]
    images = [make_noise(*size) for size in sizes]
    # The bilinears round coordinates to float32: 3e-5 of a pixel at 512, on two axes, times 255.
    tolerance = ROUNDING["clean"] if protocol is CLEAN else 2e-2
    for image, resized in zip(images, resize_canvas(images, protocol), strict=True):
        expected = oracle_resize(image, protocol).clip(0, 255)
        np.testing.assert_allclose(resized, expected, rtol=0, atol=tolerance)


def test_clean_clips_and_does_not_round():
    image = make_noise(32, 32)
    unclipped = oracle_resize(image, CLEAN)
    assert unclipped.min() < -20
    assert unclipped.max() > 275
    for resized in resize_one(image, CLEAN), reduce_on_host(image, CLEAN):
        assert resized.min() == 0
        assert resized.max() == 255
        assert np.abs(resized - resized.round()).max() > 0.49


# The reference tools' values


@functools.cache
def load_fixture(protocol):
    with np.load(FIXTURES / f"resize_{protocol.name}.npz") as file:
        return dict(file)


FIXTURE_SIZES = [
    tuple(map(int, key.removeprefix("values_").split("x")))
    for key in load_fixture(CLEAN)
    if key.startswith("values_")
]


@every_protocol
@pytest.mark.parametrize("size", FIXTURE_SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_it_agrees_with_the_reference_tool(protocol, size):
    fixture, image = load_fixture(protocol), make_noise(*size)
    key = f"{size[0]}x{size[1]}"
    assert zlib.crc32(image.tobytes()) == fixture[f"checksum_{key}"], "another image was drawn"
    pixels, expected = fixture["pixels"], fixture[f"values_{key}"]
    device = resize_canvas([image], protocol)[0] if max(size) <= CANVAS_PX else None
    for resized in reduce_on_host(image, protocol), device:
        if resized is not None:
            sampled = resized[pixels[0], pixels[1]]
            np.testing.assert_allclose(sampled, expected, rtol=0, atol=ROUNDING[protocol.name])


@every_protocol
def test_a_shape_beyond_the_canvas_agrees_with_the_reference_tool(protocol):
    fixture = load_fixture(protocol)
    sampled = resize_one(make_noise(640, 480), protocol)[tuple(fixture["pixels"])]
    np.testing.assert_allclose(
        sampled, fixture["values_640x480"], rtol=0, atol=ROUNDING[protocol.name]
    )


@bilinear
@pytest.mark.parametrize("size", [17, 45, 128, 200])
def test_coordinates_are_rounded_as_the_tool_rounds_them(protocol, size):
    positions, matrix = axis_positions(protocol, size), load_fixture(protocol)[f"matrix_{size}"]
    inner = np.flatnonzero(positions.base < size - 1)
    assert len(inner) > 250
    # The tool's weight of the upper neighbour is its fraction itself: equal to the last bit.
    np.testing.assert_array_equal(
        positions.fraction[inner], matrix[inner, positions.base[inner] + 1]
    )


# On the host


@every_protocol
def test_the_host_agrees_with_the_device(protocol):
    sizes = [(int(h), int(w)) for h, w in np.random.default_rng(3).integers(1, 513, (12, 2))]
    images = [make_noise(*size) for size in sizes]
    for image, resized in zip(images, resize_canvas(images, protocol), strict=True):
        reduced = reduce_on_host(image, protocol)
        assert reduced.dtype == np.float32
        assert reduced.flags.c_contiguous
        np.testing.assert_allclose(reduced, resized, rtol=0, atol=ROUNDING[protocol.name])


@every_protocol
def test_a_reduced_photograph_shares_a_batch_with_others(protocol):
    small, reduced = make_noise(45, 45), reduce_on_host(make_noise(700, 900), protocol)
    mixed = resize_canvas([small.astype(np.float32), reduced], protocol)
    np.testing.assert_array_equal(mixed[1], reduced)
    np.testing.assert_array_equal(mixed[0], resize_canvas([small], protocol)[0])


def test_many_threads_reduce_alike():
    images = [make_noise(600 + i, 800 - i) for i in range(4)] * 4
    expected = [reduce_on_host(image, CLEAN) for image in images[:4]] * 4
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for reduced, one in zip(
            pool.map(reduce_on_host, images, [CLEAN] * 16), expected, strict=True
        ):
            np.testing.assert_array_equal(reduced, one)


# Scaling and guards


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (LEGACY_TENSORFLOW, [-1.0, 0.0, 127 / 128]),
        (LEGACY_PYTORCH, [-1.0, 2 * 128 / 255 - 1, 1.0]),
        (CLEAN, [-1.0, 0.0, 127 / 128]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_normalise(protocol, expected):
    scaled = normalise(jnp.array([0.0, 128.0, 255.0]), protocol)
    assert scaled.dtype == jnp.float32
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-7)  # one rounding near 1


def test_cached_positions_cannot_be_overwritten():
    with pytest.raises(ValueError, match="read-only"):
        axis_positions(CLEAN, 32).fraction[0] = 1


@pytest.mark.parametrize("size", [0, -3])
def test_an_empty_image_is_refused(size):
    with pytest.raises(InputError, match=f"1 pixel or more, found {size}"):
        batch_positions(CLEAN, [(32, size)])


@pytest.mark.parametrize("sizes", [[32, 32], [[1.5, 2.0]], [[1, 2, 3]]])
def test_sizes_are_pairs_of_integers(sizes):
    with pytest.raises(InputError, match=r"sizes: expected \(n, 2\) integers"):
        batch_positions(CLEAN, sizes)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((1, 8, 8, 3), np.int32),
        np.zeros((1, 8, 8, 3), np.float16),
    ],
    ids=lambda images: f"{images.dtype}{images.shape}",
)
def test_images_of_another_shape_or_type_are_refused(images):
    with pytest.raises(InputError, match=re.escape(f"found {images.dtype}{images.shape}")):
        resize(images, batch_positions(CLEAN, [(8, 8)]), CLEAN)


def test_positions_of_another_number_of_images_are_refused():
    with pytest.raises(InputError, match="positions: expected those of 2 images"):
        resize(np.zeros((2, 8, 8, 3), np.uint8), batch_positions(CLEAN, [(8, 8)]), CLEAN)


@every_protocol
@pytest.mark.parametrize(
    "size_px", [7, 64]
)  # a prime, whose windows are of one pixel; a power of two
def test_other_sizes_keep_the_laws(protocol, size_px):
    """Flat stays flat, equal size stays equal, and the host does what the device does."""
    small = dataclasses.replace(protocol, size_px=size_px)
    flat = resize_one(np.full((40, 21, 3), 77, np.uint8), small)
    np.testing.assert_allclose(flat, np.full((size_px, size_px, 3), 77), atol=1e-4)
    same = make_noise(size_px, size_px)
    np.testing.assert_array_equal(resize_one(same, small), same)
    image = make_noise(90, 41)
    atol = ROUNDING[protocol.name]
    np.testing.assert_allclose(resize_one(image, small), reduce_on_host(image, small), atol=atol)
