"""Images are decoded once for all extractors, and prepared for each as if it were alone."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.extraction.array_features import ArrayFeatures
from jaxfid.extraction.decoding import JointBatches, prepare_image
from jaxfid.extraction.extract import ExtractOptions, Request, extract
from jaxfid.extraction.image_set import ImageSet, Needs
from jaxfid.extractors.interface import Extractor
from jaxfid.images.arrays import SequenceSource
from jaxfid.images.batches import Batches
from jaxfid.images.sources import open_source
from jaxfid.preprocessing.protocol import Protocol, get_protocol

CLEAN, LEGACY = get_protocol("clean"), get_protocol("legacy_pytorch")
CROPPED = dataclasses.replace(CLEAN, name="cropped", crops=("center",))


class Counting(SequenceSource):
    """Pictures of mixed sizes, one larger than any canvas; one may be broken."""

    def __init__(self, broken=None):
        rng = np.random.default_rng(0)
        sides = [(20, 30), (700, 40), (50, 50), (64, 10), (7, 9)]
        images = [rng.integers(0, 256, (*side, 3), dtype=np.uint8) for side in sides]
        super().__init__(images, name="pictures")
        self.read_indices, self._broken = [], broken

    def read(self, index):
        if hasattr(self, "read_indices"):
            self.read_indices.append(index)
            if index == self._broken:
                raise InputError(f"picture {index}: broken")
        return super().read(index)


def make(source, protocols, **options):
    return JointBatches(source, protocols, batch_size=2, num_workers=2, **options)


def test_each_rule_gets_what_it_would_get_alone_and_images_are_read_once():
    source = Counting()
    protocols = [CLEAN, LEGACY, CROPPED]
    joint = list(make(source, protocols))
    assert sorted(source.read_indices) == list(range(5))
    for protocol in protocols:
        alone = Batches(
            Counting(),
            batch_size=2,
            num_workers=0,
            prepare=lambda image, protocol=protocol: prepare_image(image, protocol),
        )
        for batch, expected in zip(joint, alone, strict=True):
            for field in dataclasses.fields(expected):
                np.testing.assert_array_equal(
                    getattr(batch.of(protocol), field.name), getattr(expected, field.name)
                )


def test_rules_of_one_preparation_share_their_batches():
    other = dataclasses.replace(CLEAN, name="other", shift=0.0)
    (batch, *_) = make(Counting(), [CLEAN, other])
    assert batch.of(CLEAN) is batch.of(other)


def test_what_fails_is_left_out_for_every_rule():
    batches = make(Counting(broken=3), [CLEAN, CROPPED], on_error="skip")
    masks = [(batch.of(CLEAN).mask, batch.of(CROPPED).mask) for batch in batches]
    assert [s.reason for s in batches.skipped] == ["picture 3: broken"]
    for one, other in masks:
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="picture 3: broken"):
        list(make(Counting(broken=3), [CLEAN, CROPPED]))


WIDE = np.random.default_rng(0).integers(0, 256, (6, 20, 32, 3), dtype=np.uint8)
SQUARE_MEANS = Extractor(
    "average",
    Protocol("square", "pillow_bicubic", 0.0, 1.0, "for tests", 20, ("center",)),
    3,
    {},
    lambda params, images: images.mean((1, 2)),
)


def test_a_pass_crops_every_image():
    found = extract(
        ImageSet("wide", open_source(WIDE)),
        [Request(SQUARE_MEANS, Needs(features=frozenset({"3"})))],
        ExtractOptions(batch_size=8),
    )
    features = found.by_extractor["average"].features["3"]
    np.testing.assert_allclose(features, WIDE[:, :, 6:26].mean((1, 2)), rtol=1e-6)  # float32 means
    assert np.abs(features - WIDE.mean((1, 2))).max() > 0.1  # the crop acted


def test_images_on_a_device_are_refused_where_a_crop_would_change_them():
    features = ArrayFeatures(SQUARE_MEANS, value_range=None, quantize=False)
    with pytest.raises(InputError, match=r"square crops them \(center\).*found 20 x 32 pixels"):
        features({}, jnp.asarray(WIDE))
    (found,) = features({}, jnp.asarray(WIDE[:, :, :20])).values()
    np.testing.assert_allclose(found, WIDE[:, :, :20].mean((1, 2)), rtol=1e-6)


@pytest.mark.parametrize("crop", ["adm:256", "short:256"])
def test_a_strip_that_its_crop_makes_too_large_is_refused_by_name(crop):
    images = [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 13_000, 3), np.uint8)]
    batches = JointBatches(
        open_source(images), [LEGACY.with_crop(crop)], batch_size=2, num_workers=0
    )
    with pytest.raises(
        InputError, match=r": 1: expected an image that its crop enlarges .* 13000 x 1"
    ):
        list(batches)
