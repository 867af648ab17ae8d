"""The input rules that are not Inception's first three: each against its own tool, at odd sizes."""

import dataclasses
import functools
import json
import pathlib
import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.preprocessing.crop import crop_image
from jaxfid.preprocessing.protocol import (
    CLEAN,
    CLIP,
    CLIP_FID,
    CMMD,
    DGM_EVAL,
    EDM2,
    HALF,
    IMAGENET,
    LEGACY_TENSORFLOW,
    PROTOCOLS,
    STYLEGAN_VGG16,
    TORCH_FIDELITY_DINOV2,
    TORCHMETRICS,
    Protocol,
    fdr_protocol,
    get_protocol,
)
from jaxfid.preprocessing.resize import (
    batch_positions,
    check_needs_no_crop,
    normalise,
    reduce_on_host,
    resize,
)

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "input_rules.npz"
FDR_256 = fdr_protocol(256, IMAGENET, multiple_px=14)
FLOATS = [EDM2, FDR_256, TORCHMETRICS, TORCH_FIDELITY_DINOV2]
ROUNDED = [DGM_EVAL, CMMD, CLIP_FID]
# A grey level's thousandth is what a rule of floats promises. Measured: 1.5e-4.
GREY_LEVELS = 1e-3
CANVAS_PX = 512

jitted = functools.partial(jax.jit, static_argnames="protocol")(resize)
named = functools.partial(pytest.mark.parametrize, "protocol", ids=lambda protocol: protocol.name)


def make_noise(height, width):
    """The images of scripts/fixtures/make_input_rule_fixtures.py."""
    rng = np.random.default_rng([height, width])
    return rng.integers(0, 2, (height, width, 3), dtype=np.uint8) * np.uint8(255)


@functools.cache
def load_fixture():
    with np.load(FIXTURE) as file:
        return dict(file)


every_size = pytest.mark.parametrize(
    "size", [tuple(map(int, s)) for s in load_fixture()["sizes"]], ids=lambda s: f"{s[0]}x{s[1]}"
)


def load_expected(name, image):
    key = f"{image.shape[0]}x{image.shape[1]}"
    found = zlib.crc32(image.tobytes())
    assert found == load_fixture()[f"checksum_{key}"], "another image was drawn"
    return load_fixture()[f"{name}_{key}"]


def resize_on_device(image, protocol, side=CANVAS_PX):
    canvas = np.full((1, side, side, 3), 99, np.uint8)
    canvas[0, : image.shape[0], : image.shape[1]] = image
    positions = batch_positions(protocol, [image.shape[:2]])
    return np.asarray(jitted(canvas, positions, protocol=protocol))[0]


def resize_both(image, protocol):
    """On the host, and on the device where a canvas holds the image."""
    yield reduce_on_host(image, protocol)
    if max(image.shape) <= CANVAS_PX:
        yield resize_on_device(image, protocol)


# Against the tools


@every_size
@named(FLOATS)
def test_floats_agree_with_the_tool_to_a_thousandth_of_a_grey_level(protocol, size):
    image = make_noise(*size)
    expected = load_expected(protocol.name, image)
    pixels = (load_fixture()["pixels"] * protocol.size_px).astype(int)
    for resized in resize_both(image, protocol):
        np.testing.assert_allclose(
            resized[tuple(pixels)], expected, rtol=0, atol=GREY_LEVELS, strict=True
        )


@every_size
def test_stylegan_s_vgg16_is_given_what_its_grid_gives_but_for_the_grid_s_rounding(size):
    image = make_noise(*size)
    expected = load_expected("stylegan_vgg16", image)
    pixels = (load_fixture()["pixels"] * 224).astype(int)
    for resized in resize_both(image, STYLEGAN_VGG16):
        # torch's grid has float32 coordinates of -1..1: 2^-24 of 1,000 pixels, times a step of 255, twice.
        np.testing.assert_allclose(resized[tuple(pixels)], expected, rtol=0, atol=0.03)


@every_size
@named(ROUNDED)
def test_rounded_rules_agree_with_the_tool_to_the_bit(protocol, size):
    image = make_noise(*size)
    expected = load_expected(protocol.name, image)
    for resized in resize_both(crop_image(image, protocol.crops), protocol):
        assert resized.dtype == np.float32
        np.testing.assert_array_equal(resized, np.rint(resized))
        assert zlib.crc32(resized.astype(np.uint8).tobytes()) == expected


@every_size
@pytest.mark.parametrize("crop", ["adm:64", "adm:256"])
def test_the_adm_crop_is_that_of_guided_diffusion(crop, size):
    image = make_noise(*size)
    cropped = crop_image(image, [crop])
    assert zlib.crc32(cropped.tobytes()) == load_expected(crop, image)


def test_wide_images_are_pillow_s_own_of_every_version():
    # Versions differ in tall images only; the fixture above holds those, from an old version.
    for size in [(1, 512), (224, 225), (100, 300), (333, 512), (20, 20)]:
        image = np.random.default_rng(size).integers(0, 256, (*size, 3), dtype=np.uint8)
        picture = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
        for resized in resize_both(image, DGM_EVAL):
            np.testing.assert_array_equal(resized, np.asarray(picture))


@named([EDM2, DGM_EVAL, TORCH_FIDELITY_DINOV2])
def test_grey_stays_grey(protocol):
    grey = np.random.default_rng(1).integers(0, 256, (100, 61, 1), dtype=np.uint8)
    for resized in resize_both(np.repeat(grey, 3, axis=2), protocol):
        np.testing.assert_array_equal(resized[..., 0], resized[..., 1])
        np.testing.assert_array_equal(resized[..., 0], resized[..., 2])


# Laws


@named(FLOATS + ROUNDED)
def test_equal_size_is_unchanged_and_flat_stays_flat(protocol):
    side = protocol.size_px
    same = make_noise(side, side)
    np.testing.assert_array_equal(resize_on_device(same, protocol), same)
    np.testing.assert_array_equal(reduce_on_host(same, protocol), same)
    for resized in resize_both(np.full((45, 301, 3), 77, np.uint8), protocol):
        np.testing.assert_allclose(resized, 77, rtol=0, atol=1e-4)  # float32 weights sum to 1


@named(FLOATS + ROUNDED)
def test_a_canvas_changes_nothing(protocol):
    image = make_noise(60, 41)
    small, large = (resize_on_device(image, protocol, side) for side in (64, CANVAS_PX))
    # The windows of rows differ, and with them the order of float32 sums.
    atol = 0 if protocol.rule.rounded else 3e-4
    np.testing.assert_allclose(small, large, rtol=0, atol=atol)


def test_a_reduced_photograph_shares_a_batch_with_images_of_8_bits():
    small, large = make_noise(45, 45), reduce_on_host(make_noise(700, 900), DGM_EVAL)
    canvas = np.zeros((2, 256, 256, 3), np.float32)
    canvas[0, :45, :45], canvas[1, :224, :224] = small, large
    positions = batch_positions(DGM_EVAL, [(45, 45), (224, 224)])
    resized = np.asarray(resize(canvas, positions, DGM_EVAL))
    np.testing.assert_array_equal(resized[0], reduce_on_host(small, DGM_EVAL))
    np.testing.assert_array_equal(resized[1], large)


def test_a_rounded_rule_rounds_floats_first():
    image = np.full((1, 50, 60, 3), 100.4, np.float32)
    resized = resize(image, batch_positions(DGM_EVAL, [(50, 60)]), DGM_EVAL)
    np.testing.assert_array_equal(resized, 100)
    np.testing.assert_array_equal(reduce_on_host(image[0], DGM_EVAL), 100)


def test_edm2_is_not_clipped_and_clean_is():
    image = make_noise(32, 32)
    assert reduce_on_host(image, EDM2).min() < -10
    assert reduce_on_host(image, EDM2).max() > 265
    assert resize_on_device(image, EDM2).min() < -10


def test_one_compiled_shape_serves_a_canvas():
    traces = []

    @jax.jit
    def traced(canvas, positions):
        traces.append(canvas.shape)
        return resize(canvas, positions, DGM_EVAL)

    for sizes in [(200, 200)], [(129, 17)], [(256, 1)]:
        traced(np.zeros((1, 256, 256, 3), np.uint8), batch_positions(DGM_EVAL, sizes))
    assert len(traces) == 1


# Scaling and padding


@pytest.mark.parametrize(
    ("scaling", "mean", "std"),
    [
        (IMAGENET, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (CLIP, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        (HALF, 0.5, 0.5),
    ],
)
def test_scaling_is_by_mean_and_deviation_of_0_to_1(scaling, mean, std):
    images = np.random.default_rng(2).random((1, 4, 4, 3)) * 255
    protocol = fdr_protocol(4, scaling)
    scaled = normalise(jnp.asarray(images, jnp.float32), protocol)
    expected = (images / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-6)  # float32 near 2


def test_padding_is_zero_right_and_below_after_the_scaling():
    assert (FDR_256.size_px, FDR_256.input_px) == (256, 266)
    images = jnp.zeros((1, 256, 256, 3), jnp.float32)
    scaled = np.asarray(normalise(images, FDR_256))
    assert scaled.shape == (1, 266, 266, 3)
    assert scaled[:, :256, :256].max() < -1  # black is not zero
    np.testing.assert_array_equal(scaled[:, 256:], 0)
    np.testing.assert_array_equal(scaled[:, :, 256:], 0)


# Crops


def test_the_centre_is_the_middle_square():
    image = np.arange(5 * 8 * 3, dtype=np.uint8).reshape(5, 8, 3)
    np.testing.assert_array_equal(crop_image(image, ["center"]), image[:, 1:6])
    tall = image.swapaxes(0, 1)
    np.testing.assert_array_equal(crop_image(tall, ["center"]), tall[1:6])


def test_crops_go_one_after_the_other():
    image = make_noise(70, 90)
    both = crop_image(image, ["center", "adm:32"])
    assert both.shape == (32, 32, 3)
    np.testing.assert_array_equal(both, crop_image(image[:, 10:80], ["adm:32"]))
    assert crop_image(image, []) is image


@pytest.mark.parametrize(
    "crop", ["centre", "adm", "adm:", "adm:0", "adm:-4", "adm:1.5", "adm:٣", ""]
)
def test_a_crop_that_is_none_is_refused(crop):
    with pytest.raises(InputError, match=f"crop: expected center.*found {re.escape(repr(crop))}"):
        crop_image(np.zeros((4, 4, 3), np.uint8), [crop])
    with pytest.raises(InputError, match="crop: expected center"):
        CLEAN.with_crop(crop)


@pytest.mark.parametrize(
    ("protocol", "size"),
    [(CMMD, (50, 51)), (CLIP_FID, (224, 225)), (EDM2.with_crop("adm:64"), (128, 128))],
)
def test_images_on_a_device_that_need_a_crop_are_refused(protocol, size):
    with pytest.raises(InputError, match=r"crops them \(.*found \d+ x \d+ pixels. Crop them first"):
        check_needs_no_crop(protocol, *size)


@pytest.mark.parametrize(
    ("protocol", "size"),
    [(CMMD, (50, 50)), (CLIP_FID, (99, 99)), (EDM2.with_crop("adm:64"), (64, 64)), (EDM2, (3, 9))],
)
def test_images_that_a_crop_leaves_as_they_are_need_none(protocol, size):
    check_needs_no_crop(protocol, *size)
    image = make_noise(*size)
    with_crops = reduce_on_host(crop_image(image, protocol.crops), protocol)
    np.testing.assert_array_equal(with_crops, reduce_on_host(image, protocol))


# Protocols as data


def test_every_protocol_is_found_by_its_name():
    assert all(get_protocol(name).name == name for name in PROTOCOLS)
    with pytest.raises(InputError, match="protocol: expected one of legacy_tensorflow"):
        get_protocol("cleaner")


def test_content_is_everything_that_moves_a_pixel_and_not_the_name():
    content = DGM_EVAL.content()
    assert json.loads(json.dumps(content)) == content
    renamed = dataclasses.replace(DGM_EVAL, name="mine", description="")
    assert renamed.content() == content
    changes = {
        "resampling": "antialiased_bicubic",
        "shift": 0.0,
        "divisor": 1.0,
        "size_px": 225,
        "crops": ("center",),
        "multiple_px": 14 * 3,
    }
    fields = {field.name for field in dataclasses.fields(Protocol)}
    assert fields == {"name", "description", *changes}  # a new field must stand here too
    for name, value in changes.items():
        assert dataclasses.replace(DGM_EVAL, **{name: value}).content() != content
    # FDr^6's rule is EDM2's on a network of 224 pixels and ImageNet's scaling, and StyleGAN's VGG16 gets what
    # torch-fidelity's does.
    distinct = {json.dumps(p.content()) for p in PROTOCOLS.values()}
    assert len(distinct) == len(PROTOCOLS) - 2


def test_a_crop_that_is_asked_for_comes_first():
    assert CMMD.with_crop("adm:256").crops == ("adm:256", "center")
    assert CMMD.with_crop(None) is CMMD
    assert LEGACY_TENSORFLOW.with_crop("adm:256").content() != LEGACY_TENSORFLOW.content()


def test_an_unknown_resampling_is_refused():
    with pytest.raises(InputError, match=r"resampling: expected one of tf1_bilinear.*'lanczos'"):
        dataclasses.replace(CLEAN, resampling="lanczos")


def test_an_impossible_multiple_is_refused():
    with pytest.raises(InputError, match="multiple_px: expected 1 or more, found 0"):
        dataclasses.replace(CLEAN, multiple_px=0)


def test_positions_of_another_kind_of_protocol_are_refused():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="positions: expected those of edm2"):
        resize(images, batch_positions(DGM_EVAL, [(8, 8)]), EDM2)


@pytest.mark.parametrize("size", [0, -3])
def test_an_empty_image_is_refused(size):
    with pytest.raises(InputError, match=f"1 pixel or more, found {size}"):
        batch_positions(DGM_EVAL, [(32, size)])
