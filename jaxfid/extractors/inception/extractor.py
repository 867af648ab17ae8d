"""The FID's Inception-v3 as an extractor."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Array, Float

from jaxfid.extractors.inception.model import FEATURE_WIDTHS, extract_features
from jaxfid.extractors.interface import INCEPTION, Extractor, SharedApply
from jaxfid.extractors.precision import Precision, get_precision
from jaxfid.extractors.weights import Weights
from jaxfid.preprocessing.protocol import Protocol


def make_inception_extractor(
    weights: Weights, protocol: Protocol, *, features: Sequence[str], precision: str = "float32"
) -> Extractor:
    """Returns the FID's Inception-v3 as an extractor of the named features (`FEATURE_WIDTHS`).

    Args:
      weights: From `load_weights`.
      protocol: Resize and scaling.
      features: Which features; layers beyond the last of them are not run. The first is the default.
      precision: Name of how products are taken.
    """
    wanted, named = tuple(features), get_precision(precision)
    # `is_own=False`: only a network that jaxfid brings can have values that are called an FID.
    return Extractor(
        name=INCEPTION,
        protocol=protocol,
        width={name: FEATURE_WIDTHS[name] for name in wanted},
        params=weights.params,
        apply=SharedApply(_apply, (wanted, named)),
        weights_name=weights.name,
        precision=precision,
        weights_sha256=weights.sha256,
        weights_official=weights.official,
        license="Apache-2.0",
        is_own=False,
    )


def _apply(
    features: tuple[str, ...],
    precision: Precision,
    params: Mapping[str, Any],
    images: Float[Array, "n 299 299 3"],
) -> dict[str, Array]:
    return extract_features(params, images, features=features, precision=precision)
