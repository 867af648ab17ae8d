"""Every network that jaxfid knows, by name, and how a user's own is loaded."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from jaxfid.errors import InputError, did_you_mean
from jaxfid.extractors.inception.extractor import make_inception_extractor
from jaxfid.extractors.inception.model import FEATURE_WIDTHS
from jaxfid.extractors.interface import INCEPTION, Extractor
from jaxfid.extractors.keras import make_keras_network
from jaxfid.extractors.named_function import load_function
from jaxfid.extractors.networks import NETWORKS, Network, make_network
from jaxfid.extractors.precision import get_precision
from jaxfid.extractors.torchvision import make_torchvision_network
from jaxfid.extractors.weights import load_weights
from jaxfid.preprocessing.protocol import (
    DEFAULT_PROTOCOL,
    FDR,
    FDR_INCEPTION,
    INPUT_SIZE_PX,
    PROTOCOLS,
    Protocol,
)


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """What a network is loaded with.

    Attributes:
      weights: "auto", "untrained" or a path.
      precision: Name of how products are taken.
      protocol: The input rule; None for the network's own.
      crop: Cut every image before the rule; None cuts nothing.
      features: Names of the features that are needed, the default one first; empty for all.
    """

    weights: str = "auto"
    precision: str = "float32"
    protocol: Protocol | None = None
    crop: str | None = None
    features: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class ExtractorSpec:
    """A network that jaxfid knows.

    Attributes:
      name: What `--extractor` calls it.
      load: Loads the weights and returns the network.
      features: Width of every feature by name; the first is the default.
      protocols: Names of the input rules that may be chosen for it, the default first. Empty where the
        network brings its own.
    """

    name: str
    load: Callable[[LoadOptions], Extractor]
    features: Mapping[str, int]
    protocols: Sequence[str] = ()


def _load_inception(options: LoadOptions) -> Extractor:
    protocol = options.protocol or DEFAULT_PROTOCOL
    if protocol.name == FDR.name:
        protocol = dataclasses.replace(FDR_INCEPTION, crops=protocol.crops)
    return make_inception_extractor(
        load_weights(options.weights),
        protocol,
        features=options.features or ("2048",),
        precision=options.precision,
    )


def _describe(network: Network) -> ExtractorSpec:
    """A row of `NETWORKS` as a row of this table."""
    return ExtractorSpec(
        network.name,
        lambda options: make_network(
            network.name, options.weights, options.precision, options.protocol
        ),
        network.features,
        protocols=network.protocol_names,
    )


EXTRACTORS: dict[str, ExtractorSpec] = {
    spec.name: spec
    for spec in (
        ExtractorSpec(
            INCEPTION,
            _load_inception,
            {"2048": 2048, **FEATURE_WIDTHS},
            protocols=(*(n for n, p in PROTOCOLS.items() if p.size_px == INPUT_SIZE_PX), FDR.name),
        ),
        ExtractorSpec(
            "torchvision",
            lambda options: make_torchvision_network(options.weights, options.precision),
            {"2048": 2048},
        ),
        ExtractorSpec(
            "keras",
            lambda options: make_keras_network(options.weights, options.precision),
            {"2048": 2048},
        ),
        *map(_describe, NETWORKS.values()),
    )
}
"""One row for each network."""


class ChosenExtractor:
    """A network that was chosen; its weights are loaded when its images are seen, and not before.

    Attributes:
      name: Its name.
      chosen: The feature that the Frechet distance is of.
      default: Its own default feature, which all other metrics are of.
      widths: Width of every feature by name.
    """

    def __init__(
        self, extractor: str | Extractor, options: LoadOptions, *, dims: int = 2048
    ) -> None:
        """Finds the network; a user's own is made by its function, so that its name is known.

        Args:
          extractor: A name out of `EXTRACTORS`; `module:function`, a user's function without arguments that
            returns an `Extractor`; or one of those itself.
          options: What to load it with.
          dims: Which of Inception's features the Frechet distance is of.

        Raises:
          InputError: There is no such network, its function returns something else, what it gives is not
            what it declares, or something was chosen that it brings itself.
        """
        self._options = options
        self._spec: ExtractorSpec | None = None
        self._network: Extractor | None = None
        self._is_cropped = False
        # A network of ours is known by its row and loaded late. A user's is an object that exists already.
        if isinstance(extractor, str) and extractor in EXTRACTORS:
            self._spec = EXTRACTORS[extractor]
            _check_known(self._spec, options)
            self.name, self.widths = extractor, self._spec.features
        else:
            network = _call_named(extractor) if isinstance(extractor, str) else extractor
            _refuse_choices(network, options)
            network.check()
            self._network = network
            self.name, self.widths = network.name, network.widths
        self.default = next(iter(self.widths))
        self.chosen = str(dims) if self.name == INCEPTION else self.default

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are there already."""
        return self._network is not None

    def load(self, features: Sequence[str] = ()) -> Extractor:
        """Returns the network with its weights, the same one at every call.

        Args:
          features: What is needed of it; the first call decides.

        Raises:
          InputError: The weights are not those of the network.
          WeightsUnavailableError: The weights are neither here nor to be fetched.
        """
        if self._network is None:
            assert self._spec is not None  # one of the two was set at the start
            wanted = (self.chosen, *(f for f in features if f != self.chosen))
            self._network = self._spec.load(dataclasses.replace(self._options, features=wanted))
        if self._options.crop is not None and not self._is_cropped:
            protocol = self._network.protocol.with_crop(self._options.crop)
            self._network = dataclasses.replace(self._network, protocol=protocol)
            self._is_cropped = True
        return self._network


def load_extractor(extractor: str | Extractor, options: LoadOptions | None = None) -> Extractor:
    """Returns a network with its weights; arguments and errors as of `ChosenExtractor`."""
    options = options or LoadOptions()
    return ChosenExtractor(extractor, options).load(options.features)


def _check_known(spec: ExtractorSpec, options: LoadOptions) -> None:
    get_precision(options.precision)
    protocol = options.protocol
    # A protocol of the user's own may be given to a network that takes any.
    is_own = bool(spec.protocols) and protocol is not None and protocol.name not in PROTOCOLS
    if protocol is None or is_own or protocol.name in spec.protocols:
        return
    if not spec.protocols:
        raise _brings_its_own(spec.name, [f"protocol {protocol.name}"])
    expected = ", ".join(spec.protocols)
    raise InputError(f"protocol: {spec.name} takes {expected}, found {protocol.name!r}")


def _call_named(name: str) -> Extractor:
    if ":" not in name:
        known = ", ".join([*EXTRACTORS, "module:function"])
        hint = did_you_mean(name, EXTRACTORS)
        raise InputError(f"extractor: expected one of {known}, found {name!r}{hint}")
    made = load_function(name, argument="extractor")()
    if not isinstance(made, Extractor):
        kind = type(made).__name__
        raise InputError(f"extractor: expected a jaxfid.FeatureNetwork, found {kind}")
    return made


def _refuse_choices(extractor: Extractor, options: LoadOptions) -> None:
    chosen = []
    if options.weights != "auto":
        chosen.append(f"weights {options.weights}")
    if options.precision not in ("float32", extractor.precision):
        chosen.append(f"precision {options.precision}")
    if options.protocol not in (None, extractor.protocol):
        chosen.append(f"protocol {options.protocol.name}")
    if chosen:
        raise _brings_its_own(extractor.name, chosen)


def _brings_its_own(name: str, chosen: Sequence[str]) -> InputError:
    return InputError(
        f"extractor: {name} brings its own weights, precision and protocol, found "
        f"{' and '.join(chosen)}; leave that out"
    )
