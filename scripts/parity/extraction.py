"""Features of image files by jaxfid, and the error of features as all tables here give it."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from jaxfid import ImageSource, open_source
from jaxfid.extraction.accumulators import FeatureStore
from jaxfid.extraction.decoding import prepare_image
from jaxfid.extraction.devices import is_cpu, local_mesh
from jaxfid.extraction.feature_pass import FeaturePass, run_pass
from jaxfid.extractors.inception.extractor import make_inception_extractor
from jaxfid.extractors.weights import load_weights
from jaxfid.images.batches import Batches
from jaxfid.preprocessing.protocol import Protocol, get_protocol

FEATURES = ("64", "192", "768", "2048")
ROWS_PER_CPU_DEVICE, ROWS_PER_ACCELERATOR = 16, 128

Features = dict[str, Float[np.ndarray, "n d"]]


def start_jax() -> None:
    """Sets a CPU device per core, as the command line does, before JAX starts."""
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def open_some(folder: Path, count: int) -> ImageSource:
    """Returns so many images of a folder, evenly spread over it."""
    source = open_source(folder)
    count = min(count, len(source))
    return source.take([number * len(source) // count for number in range(count)])


def extract(
    sources: Sequence[ImageSource],
    *,
    weights: str,
    features: Sequence[str],
    protocol: str = "legacy_tensorflow",
    precision: str = "float32",
) -> list[Features]:
    """Returns the named features of every image of each source."""
    named = get_protocol(protocol)
    extractor = make_inception_extractor(
        load_weights(weights), named, features=features, precision=precision
    )
    feature_pass = FeaturePass(extractor, local_mesh())
    return [_extract_one(source, feature_pass, named, features) for source in sources]


def _extract_one(
    source: ImageSource, feature_pass: FeaturePass, protocol: Protocol, features: Sequence[str]
) -> Features:
    mesh = feature_pass.mesh
    rows = ROWS_PER_CPU_DEVICE if is_cpu(mesh) else ROWS_PER_ACCELERATOR
    batches = Batches(
        source,
        batch_size=rows * mesh.size,
        num_workers=2,
        prepare=functools.partial(prepare_image, protocol=protocol),
    )
    stores = {name: FeatureStore(name) for name in features}
    run_pass(feature_pass, batches, stores.values())
    return {name: store.features() for name, store in stores.items()}


def relative_errors(
    found: Float[np.ndarray, "n d"], expected: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """Returns the L2 norm of each image's error as a share of its features' norm."""
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
