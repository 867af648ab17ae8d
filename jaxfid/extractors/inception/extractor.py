"""Extractors: a network over images together with all that its features depend on."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import Array, Float

from jaxfid.extractors.inception.model import FEATURE_WIDTHS, extract_features
from jaxfid.extractors.precision import get_precision
from jaxfid.extractors.weights import Weights
from jaxfid.preprocessing.protocol import Protocol


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network from images to named feature vectors.

    Attributes:
      name: "inception" for the network of the FID; only its Frechet distance is called `fid`.
      protocol: Resize and scaling of its input.
      widths: Width of each feature vector that `apply` gives, by name.
      params: What `apply` is given first; placed on every device.
      apply: From params and scaled images `(n, size, size, 3)` to features `(n, width)` by name, pure JAX.
    """

    name: str
    protocol: Protocol
    widths: Mapping[str, int]
    params: Any
    apply: Callable[[Any, Float[Array, "n s s 3"]], dict[str, Float[Array, "n d"]]]


def make_inception_extractor(
    weights: Weights, protocol: Protocol, *, features: Sequence[str], precision: str = "float32"
) -> Extractor:
    """Returns the FID's Inception-v3 as an extractor of the named features (`FEATURE_WIDTHS`)."""
    wanted, named = tuple(features), get_precision(precision)

    def apply(params: Any, images: Float[Array, "n 299 299 3"]) -> dict[str, Array]:  # noqa: ANN401
        return extract_features(params, images, features=wanted, precision=named)

    return Extractor(
        name="inception",
        protocol=protocol,
        widths={name: FEATURE_WIDTHS[name] for name in wanted},
        params=weights.params,
        apply=apply,
    )
