"""A result: scores with all that they depend on."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.distributed.group import process_group
from jaxfid.extraction.image_set import ExtractedFeatures, ExtractedSet
from jaxfid.provenance import describe_environment
from jaxfid.result import Result, SetResult
from jaxfid.scoring.plan import Plan


def make_result(plan: Plan, reference: ExtractedSet, results: Sequence[SetResult]) -> Result:
    """Returns the sets' scores with all that they depend on."""
    extractors = {name: _describe(plan, reference, name) for name in plan.extractors}
    first = next(iter(extractors.values()))
    protocol = {"name": first.get("protocol")}
    protocol |= {name: first.get(name) for name in ("dims", "precision")}
    # A user's own network brings a rule whose name nobody else knows.
    if first.get("extractor", "inception") != "inception":
        protocol |= {name: first[name] for name in ("extractor", "input") if name in first}
    return Result(
        reference={
            "name": reference.name,
            "num_images": reference.count,
            "skipped": list(reference.skipped),
            "provenance": reference.provenance,
        },
        protocol=protocol,
        weights={n: first.get(f"weights_{n}") for n in ("name", "sha256", "official")},
        environment=describe_environment(num_processes=process_group().count),
        results=results,
        extractors=extractors,
    )


def _describe(plan: Plan, reference: ExtractedSet, name: str) -> Mapping[str, Any]:
    """Returns the provenance of an extractor's features, as far as it is known."""
    known = reference.by_extractor.get(name, ExtractedFeatures()).provenance
    if known is not None:
        return known
    network = plan.extractors[name]
    # Statistics on both sides need no network, and none is loaded to describe it.
    return network.load().provenance(network.chosen) if network.is_loaded else {}
