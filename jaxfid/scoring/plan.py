"""What an evaluation is to compute: networks, metrics, and what these need, resolved from the choices."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from jaxfid.errors import InputError
from jaxfid.extraction.image_set import Needs
from jaxfid.extractors.interface import Extractor
from jaxfid.extractors.registry import ChosenExtractor, LoadOptions
from jaxfid.metrics.joint import JointSpec
from jaxfid.metrics.registry import MetricSpec, choose_joint_specs, choose_specs, metric_specs
from jaxfid.settings import FeatureSettings, Settings, Weights


@dataclasses.dataclass(frozen=True)
class Plan:
    """The networks of an evaluation and the metrics on them.

    Attributes:
      extractors: The networks by name. Weights are loaded when images are seen.
      specs: The metrics of each network that are shown.
      joint: The metrics over several networks by name.
      computed: The metrics of each network that are computed: those shown, and the parts of `joint`.
      needs: What these need of the reference, and of a generated set.
    """

    extractors: Mapping[str, ChosenExtractor]
    specs: Mapping[str, Sequence[MetricSpec]]
    joint: Mapping[str, JointSpec]
    computed: Mapping[str, Sequence[MetricSpec]]
    needs: Mapping[str, tuple[Needs, Needs]]

    def names(self) -> list[str]:
        """Returns what results call the metrics that are shown."""
        of_one = [spec.result_name(name) for name, specs in self.specs.items() for spec in specs]
        return [*of_one, *self.joint]


def make_plan(settings: Settings) -> Plan:
    """Returns the plan of an evaluation; no weights are loaded.

    Raises:
      InputError: A network or a metric is not what it should be.
    """
    features, names = settings.features, settings.metrics.names
    extractors = _find_extractors(features)
    _check_weights(features.weights, list(extractors))
    specs, joint = (
        choose_specs(names, list(extractors)),
        choose_joint_specs(names, list(extractors)),
    )
    computed = {name: _with_parts(name, shown, joint.values()) for name, shown in specs.items()}
    needs = {name: _needs_of(extractors[name], found) for name, found in computed.items()}
    return Plan(extractors, specs, joint, computed, needs)


def _find_extractors(features: FeatureSettings) -> dict[str, ChosenExtractor]:
    chosen = [_find(extractor, features) for extractor in features.extractors]
    extractors = {extractor.name: extractor for extractor in chosen}
    # Of several networks it speaks of Inception. 2048 is the default, which nobody has to take back.
    if features.dims not in (2048, *(e.widths[e.chosen] for e in chosen)):
        found = ", ".join(extractors)
        raise InputError(f"dims: the extractor {found} brings its own; leave it out")
    if len(extractors) < len(chosen):
        raise InputError("extractor: expected each network once, found one twice")
    return extractors


def _find(extractor: str | Extractor, features: FeatureSettings) -> ChosenExtractor:
    f = features
    name = extractor if isinstance(extractor, str) else extractor.name
    options = LoadOptions(f.weights_of(name), f.precision, f.protocol, f.crop)
    return ChosenExtractor(extractor, options, dims=f.dims)


def _with_parts(
    extractor: str, shown: Sequence[MetricSpec], joint: Iterable[JointSpec]
) -> list[MetricSpec]:
    parts = [metric_specs()[spec.part] for spec in joint if extractor in spec.extractors]
    return [*shown, *(part for part in parts if part not in shown)]


def _needs_of(network: ChosenExtractor, specs: Sequence[MetricSpec]) -> tuple[Needs, Needs]:
    """Returns what a network's metrics need of the reference, and of a generated set."""
    reference, generated = Needs(), Needs()
    for spec in specs:
        ours, theirs = spec.needs(network.chosen, network.default)
        reference, generated = reference | ours, generated | theirs
    return reference, generated


def _check_weights(weights: Weights | Mapping[str, Weights], extractors: Sequence[str]) -> None:
    """Checks that weights by name are of networks of this run: others would be left unused without a word."""
    unknown = sorted(set(weights) - set(extractors)) if isinstance(weights, Mapping) else []
    if unknown:
        raise InputError(
            f"weights: expected NAME=PATH for names out of {', '.join(extractors)}, found "
            f"{', '.join(unknown)}; a file whose own name has a = is written ./NAME"
        )
