"""A pass as the library makes it, over images of which one kills the process and another is broken."""

import numpy as np

from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import FeatureStore, make_moments
from jaxfid.extraction.decoding import JointBatches
from jaxfid.extraction.devices import local_mesh
from jaxfid.extraction.feature_pass import FeaturePass, run_pass
from jaxfid.extraction.snapshots import Snapshots
from jaxfid.images.arrays import ArraySource
from jaxfid.images.interface import ImageSource
from tests.extraction.small_extractor import WIDTH, make_extractor

NUM_IMAGES, BATCH_SIZE = 37, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 8, 8, 3), dtype=np.uint8)
EXTRACTOR = make_extractor()


class Killed(BaseException):
    """Stands for the end of the process: nothing in the library catches it."""


class Fragile(ImageSource):
    """The images; the process dies on reading one of them, and another cannot be decoded."""

    def __init__(self, deadly: int | None = None, broken: int | None = None) -> None:
        self._inner = ArraySource(IMAGES, name="images")
        self.name, self.keys = "images", self._inner.keys
        self._deadly, self._broken = deadly, broken

    def read(self, index):
        if index == self._deadly:
            raise Killed
        if index == self._broken:
            raise InputError(f"{self.keys[index]}: broken")
        return self._inner.read(index)

    def fingerprint(self, index, *, whole=False):
        if index == self._broken:
            raise InputError(f"{self.keys[index]}: broken")
        return self._inner.fingerprint(index, whole=whole)


def run(
    path,
    source,
    *,
    devices=1,
    identity=None,
    sums="auto",
    share=(0, 1),
    check=lambda: None,
    **options,
):
    """One run as the library makes it; returns what was kept, and the skipped files."""
    mesh = local_mesh(devices)
    kept = [make_moments("small", WIDTH, mesh, sums=sums), FeatureStore("small")]
    options = {"every_s": 0.0} | options
    snapshots = Snapshots(path, identity or {"protocol": "clean"}, kept, **options)
    batches = JointBatches(
        source,
        [make_extractor().protocol],
        batch_size=BATCH_SIZE,
        num_workers=0,
        on_error="skip",
        share=share,
        start=snapshots.next_batch,
    )
    run_pass(feature_pass(devices), snapshots.follow(batches, check=check), kept)
    return kept[0].moments(), kept[1], snapshots.skipped


PASSES = {}


def feature_pass(devices: int) -> FeaturePass:
    if devices not in PASSES:
        PASSES[devices] = FeaturePass(EXTRACTOR, local_mesh(devices))
    return PASSES[devices]
