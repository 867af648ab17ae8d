"""Which features a value is of, in words: without them a number says nothing."""

import dataclasses
from collections.abc import Mapping

from jaxfid.extractors.registry import ChosenExtractor
from jaxfid.metrics.pair import SetPair
from jaxfid.metrics.registry import MetricSpec
from jaxfid.result import MetricValue
from jaxfid.scoring.plan import Plan


def with_spaces(
    plan: Plan, pairs: Mapping[str, SetPair], values: Mapping[str, MetricValue]
) -> dict[str, MetricValue]:
    """Returns the values, each with the input rule and the width of its features.

    Args:
      plan: The networks and their metrics.
      pairs: The set against the reference, by extractor.
      values: By what results call them. A metric over several networks has no one space and stays.
    """
    spaces = {
        spec.result_name(name): _describe(spec, plan.extractors[name], pair)
        for name, pair in pairs.items()
        for spec in plan.specs[name]
    }
    return {n: dataclasses.replace(value, space=spaces.get(n)) for n, value in values.items()}


def _describe(spec: MetricSpec, network: ChosenExtractor, pair: SetPair) -> str:
    _, needs = spec.needs(network.chosen, network.default)
    widths = sorted({pair.generated.width_of(name, network.widths[name]) for name in needs.all()})
    known = pair.generated.provenance or pair.reference.features.provenance or {}
    # A file of another tool does not say by which rule its features were made.
    parts = [known.get("protocol"), *widths]
    return ", ".join(str(part) for part in parts if part is not None)
