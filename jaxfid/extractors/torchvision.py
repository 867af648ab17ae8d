"""torchvision's ImageNet Inception-v3, which many published scores were computed with by mistake.

Its convolutions have the names and shapes of those in the FID's network. The differences are the weights, the
average pools, which count the padding, the average pool of Mixed_7c, and 1000 classes.
"""

import os
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors.inception.checkpoint import (
    EXPECTED_TENSORS,
    Params,
    check_tensors,
    fold_params,
    untrained_params,
)
from jaxfid.extractors.inception.model import Inception, average_pool_with_padding
from jaxfid.extractors.interface import Extractor
from jaxfid.extractors.precision import Precision, get_precision
from jaxfid.extractors.weights_file import WeightsFile, read_tensors
from jaxfid.preprocessing.protocol import Protocol
from jaxfid.storage.paths import as_path

FILE = "inception_v3_google-0cc3c7bd.pth"
SHA256_START = "0cc3c7bd"  # torchvision publishes no more of it than the file's name
URL = f"https://download.pytorch.org/models/{FILE}"

# Users normalise images by ImageNet's mean and standard deviation. `transform_input`, which is on with these
# weights, turns that into (x / 255 - 0.5) / 0.5.
PROTOCOL = Protocol(
    "torchvision",
    "half_pixel_bilinear",
    127.5,
    127.5,
    "bilinear with half-pixel centres, no antialias; ImageNet's normalisation after transform_input",
)

_FEATURE, _WIDTH = "2048", 2048
_NUM_CLASSES = 1000
_FLOAT32 = np.dtype(np.float32)
EXPECTED = {
    **{name: e for name, e in EXPECTED_TENSORS.items() if not name.endswith("num_batches_tracked")},
    "fc.weight": ((_NUM_CLASSES, _WIDTH), _FLOAT32),
    "fc.bias": ((_NUM_CLASSES,), _FLOAT32),
}
"""The tensors that are read. The checkpoint also holds some that only training needs."""


def make_torchvision_network(weights: str | os.PathLike[str], precision: str) -> Extractor:
    """Returns the network up to its last average pool, 2048 features.

    Args:
      weights: Path of torchvision's checkpoint, or "untrained" for random numbers.
      precision: Name of how products are taken.

    Raises:
      InputError: The file does not hold the network.
      WeightsUnavailableError: No file was named.
    """
    named = get_precision(precision)
    name, params = _load(weights)
    params.pop("fc")  # the classes are not features
    return Extractor(
        name="torchvision",
        protocol=PROTOCOL,
        width=_WIDTH,
        params=params,
        apply=lambda params, images: _extract(params, images, named),
        weights_name=name,
        precision=precision,
        is_own=False,
    )


def _extract(
    params: Any,  # noqa: ANN401
    images: Float[Array, "n 299 299 3"],
    precision: Precision,
) -> Float[Array, "n 2048"]:
    pool = average_pool_with_padding
    network = Inception((_FEATURE,), precision, pool=pool, last_pool=pool)
    features: Any = network.apply({"params": params}, images)  # Flax may return state as well
    return features[_FEATURE]


def _load(weights: str | os.PathLike[str]) -> tuple[str, Params]:
    if weights == "untrained":
        return "untrained", untrained_params()
    if weights == "auto":
        raise WeightsUnavailableError(
            f"torchvision's weights are not fetched: download {URL} and name it, --weights {FILE}; or a dry "
            "run, whose numbers mean nothing: --weights untrained"
        )
    path = as_path(weights).expanduser()
    file = read_tensors(path)
    tensors = {name: tensor for name, tensor in file.tensors.items() if not _is_for_training(name)}
    try:
        check_tensors(tensors, file.repeated, expected=EXPECTED, network=f"torchvision's {FILE}")
        return _name(file), fold_params(tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _is_for_training(name: str) -> bool:
    return name.startswith("AuxLogits.") or name.endswith(".num_batches_tracked")


def _name(file: WeightsFile) -> str:
    known = file.sha256.startswith(SHA256_START)
    return f"torchvision's {FILE}" if known else f"unrecognised weights ({file.name})"
