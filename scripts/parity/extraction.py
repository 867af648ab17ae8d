"""Features of image files by jaxfid, and the error of features as all tables here give it."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from jaxfid import ImageSource, open_source
from jaxfid.extraction.extract import ExtractOptions, Request, choose_batch_size, extract
from jaxfid.extraction.image_set import ImageSet, Needs
from jaxfid.extractors.registry import LoadOptions, load_extractor
from jaxfid.images.cores import count_usable_cores
from jaxfid.preprocessing.protocol import get_protocol

FEATURES = ("64", "192", "768", "2048")

Features = dict[str, Float[np.ndarray, "n d"]]


def start_jax() -> None:
    """Sets a CPU device per core, as the command line does, before JAX starts."""
    jax.config.update("jax_num_cpu_devices", count_usable_cores())


def open_some(folder: Path, count: int) -> ImageSource:
    """Returns so many images of a folder, evenly spread over it."""
    source = open_source(folder)
    count = min(count, len(source))
    return source.take([number * len(source) // count for number in range(count)])


def extract_features(
    sources: Sequence[ImageSource],
    *,
    weights: str,
    features: Sequence[str],
    protocol: str = "legacy_tensorflow",
    precision: str = "float32",
) -> list[Features]:
    """Returns the named features of every image of each source."""
    choices = LoadOptions(weights, precision, get_protocol(protocol), features=features)
    extractor = load_extractor("inception", choices)
    request = Request(extractor, Needs(features=frozenset(features)))
    options = ExtractOptions(choose_batch_size(None, max(map(len, sources)), None))
    seen = (extract(ImageSet(s.name, s), [request], options) for s in sources)
    return [dict(one.by_extractor[extractor.name].features) for one in seen]


def relative_errors(
    found: Float[np.ndarray, "n d"], expected: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """Returns the L2 norm of each image's error as a share of its features' norm."""
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
