"""Crops and sizes of one extractor or several: what workers do, and what is refused instead of misread."""

import jax
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.extraction.array_features import ArrayFeatures
from jaxfid.extraction.extract import ExtractOptions, Request, extract
from jaxfid.extraction.host_preparation import choose_reduce, crop_source
from jaxfid.extraction.image_set import ImageSet, Needs
from jaxfid.extractors.interface import Extractor
from jaxfid.images.sources import open_source
from jaxfid.preprocessing.crop import crop_image
from jaxfid.preprocessing.protocol import CMMD, DGM_EVAL, EDM2, Protocol
from jaxfid.preprocessing.resize import reduce_on_host

WIDE = np.random.default_rng(0).integers(0, 256, (6, 20, 32, 3), dtype=np.uint8)
SQUARE_MEANS = Protocol("square", "pillow_bicubic", 0.0, 1.0, "for tests", 20, ("center",))


def average(params, images):
    return images.mean((1, 2))


def make_extractor(protocol=SQUARE_MEANS):
    return Extractor("average", protocol, 3, {}, average)


def test_a_pass_crops_every_image():
    needs = Needs(features=frozenset({"3"}))
    found = extract(
        ImageSet("wide", open_source(WIDE)),
        [Request(make_extractor(), needs)],
        ExtractOptions(batch_size=8),
    )
    features = found.by_extractor["average"].features["3"]
    expected = WIDE[:, :, 6:26].mean((1, 2))
    np.testing.assert_allclose(features, expected, rtol=1e-6)  # float32 means
    assert np.abs(features - WIDE.mean((1, 2))).max() > 0.1  # the crop acted


def test_the_crop_is_that_of_the_protocol():
    source = crop_source(open_source(WIDE), [CMMD, CMMD])
    assert len(source) == 6
    np.testing.assert_array_equal(source.read(2), crop_image(WIDE[2], CMMD.crops))


def test_no_crop_is_the_source_itself():
    source = open_source(WIDE)
    assert crop_source(source, [EDM2, DGM_EVAL]) is source


def test_other_crops_cannot_share_a_decoding():
    with pytest.raises(
        InputError, match=r"same crops in one run, found edm2 .* and cmmd with \['c"
    ):
        crop_source(open_source(WIDE), [EDM2, CMMD])


def test_large_images_of_one_rule_are_reduced():
    image = np.random.default_rng(1).integers(0, 256, (600, 10, 3), dtype=np.uint8)
    reduced = choose_reduce([EDM2, EDM2])(image)
    np.testing.assert_array_equal(reduced, reduce_on_host(image, EDM2))


def test_large_images_of_several_rules_are_refused():
    reduce = choose_reduce([EDM2, DGM_EVAL])
    with pytest.raises(InputError, match=r"600 x 10 pixels .* \(edm2, dgm_eval\): crop it first"):
        reduce(np.zeros((600, 10, 3), np.uint8))


def test_images_on_a_device_are_refused_where_a_crop_would_change_them():
    features = ArrayFeatures(make_extractor(), value_range=None, quantize=False)
    with pytest.raises(InputError, match=r"square crops them \(center\).*found 20 x 32 pixels"):
        features({}, jax.numpy.asarray(WIDE))
    (found,) = features({}, jax.numpy.asarray(WIDE[:, :, :20])).values()
    np.testing.assert_allclose(found, WIDE[:, :, :20].mean((1, 2)), rtol=1e-6)
