"""Networks that may take the place of the FID's, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxfid.errors import InputError
from jaxfid.extractors.feature_network import FeatureNetwork
from jaxfid.extractors.keras import make_keras_network
from jaxfid.extractors.named_function import load_function
from jaxfid.extractors.precision import get_precision
from jaxfid.extractors.torchvision import make_torchvision_network

MakeNetwork = Callable[[str | Path, str], FeatureNetwork]
"""From weights (`auto`, `untrained` or a path) and the name of a precision to a network."""

NETWORKS: Mapping[str, MakeNetwork] = {
    "keras": make_keras_network,
    "torchvision": make_torchvision_network,
}
"""Networks that jaxfid knows itself."""


def load_network(
    extractor: str | FeatureNetwork, *, weights: str | Path, precision: str
) -> FeatureNetwork:
    """Returns the network that is meant, with its weights.

    Args:
      extractor: A name out of `NETWORKS`; `module:function`, a user's function without arguments that
        returns a `FeatureNetwork`; or one of those itself.
      weights: Of a network of `NETWORKS`; any other brings its own, and "auto" stands for them.
      precision: Likewise.

    Raises:
      InputError: There is no such network, its function returns something else, or weights or a precision
        were chosen for a network that brings its own.
    """
    if isinstance(extractor, str) and extractor in NETWORKS:
        get_precision(precision)
        return NETWORKS[extractor](weights, precision)
    if isinstance(extractor, str) and ":" not in extractor:
        known = ", ".join([*NETWORKS, "module:function"])
        raise InputError(f"extractor: expected one of {known}, found {extractor!r}")
    network = extractor
    if isinstance(extractor, str):
        network = load_function(extractor, argument="extractor")()
    if not isinstance(network, FeatureNetwork):
        kind = type(network).__name__
        raise InputError(f"extractor: expected a jaxfid.FeatureNetwork, found {kind}")
    _check_own(network, weights, precision)
    return network


def _check_own(network: FeatureNetwork, weights: str | Path, precision: str) -> None:
    chosen = []
    if weights != "auto":
        chosen.append(f"weights {weights}")
    if precision not in ("float32", network.precision):
        chosen.append(f"precision {precision}")
    if chosen:
        raise InputError(
            f"extractor: {network.name} brings its own weights and precision, found "
            f"{' and '.join(chosen)}; leave that out"
        )
