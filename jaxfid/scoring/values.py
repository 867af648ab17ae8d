"""The values of a set's metrics, each computed once."""

import dataclasses
from collections.abc import Callable, Mapping

from jaxfid.context import own_context
from jaxfid.errors import InputError
from jaxfid.metrics.pair import SetPair
from jaxfid.metrics.registry import MetricSpec
from jaxfid.result import MetricValue
from jaxfid.scoring.plan import Plan


def compute_values(plan: Plan, pairs: Mapping[str, SetPair]) -> dict[str, MetricValue]:
    """Returns the metrics that are shown by what results call them, in the order asked for.

    Args:
      plan: The networks and their metrics.
      pairs: The set against the reference, by extractor.
    """
    # One pair for all metrics of an extractor: what one has computed, the others find there.
    found = {
        (name, spec.name): compute(spec, pair)
        for name, pair in pairs.items()
        for spec in plan.computed[name]
    }
    values = {
        spec.result_name(name): found[name, spec.name]
        for name in pairs
        for spec in plan.specs[name]
    }
    for spec in plan.joint.values():
        parts = {name: found[name, spec.part] for name in spec.extractors}
        own_pairs = {name: pairs[name] for name in spec.extractors}
        values[spec.name] = _run(
            lambda s=spec, v=parts, p=own_pairs: s.compute(v, p), spec.why_no_stderr
        )
    return values


def compute(spec: MetricSpec, pair: SetPair) -> MetricValue:
    """Returns a metric of a pair; one that these sets do not allow is a value of None with the reason."""
    return _run(lambda: spec.compute(pair), spec.why_no_stderr)


def _run(compute: Callable[[], MetricValue], why_no_stderr: str | None) -> MetricValue:
    try:
        # The caller may be a training under a mesh and types of its own.
        with own_context():
            found = compute()
    except InputError as error:  # too few images for one metric must not cost the others
        return MetricValue(None, reason=str(error))
    if found.stderr is None and found.reason is None:
        return dataclasses.replace(found, reason=why_no_stderr)
    return found
