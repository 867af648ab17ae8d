"""What a result depends on, short enough to compare with another process's or an earlier run's."""

import dataclasses
import hashlib
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from jaxfid.distributed.group import process_group
from jaxfid.extractors.weights import Weights
from jaxfid.images.identity import identify_source
from jaxfid.images.interface import ImageSource
from jaxfid.samples import Sample
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats

OF_EACH_PROCESS = {
    "weights",  # a path, where their digest counts
    "num_workers",
    "devices",
    "sums",
    "resume",
    "resume_every_s",
    "progress",
}
"""Settings that may differ between the processes of one evaluation."""

OF_THE_PASS = ("protocol", "extractor", "precision", "on_error", "limit", "seed")
"""Settings that what is kept of a set depends on."""


def require_agreement(
    settings: Settings, opened: Sequence[Sample], *, weights: Weights | None = None
) -> None:
    """Finds out whether all processes are about to do the same; alone, there is nothing to find out.

    Args:
      settings: The choices.
      opened: The sets, not yet seen.
      weights: The network's, where images are to be seen now.

    Raises:
      InputError: They are not; the message says what differs, on every process.
    """
    if process_group().count > 1:
        process_group().require_agreement(_facts_of_evaluation(settings, opened, weights))


def _facts_of_evaluation(
    settings: Settings, opened: Sequence[Sample], weights: Weights | None
) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(settings) if f.name not in OF_EACH_PROCESS]
    facts = _facts_of_settings(settings, names) | {"number of sets": len(opened)}
    if weights is not None:
        facts["weights"] = weights.sha256
    for number, sample in enumerate(opened):
        facts |= {f"{name} of set {number}": fact for name, fact in _identify(sample).items()}
    return facts


def facts_of_pass(settings: Settings, weights: Weights, source: ImageSource) -> dict[str, Any]:
    """Returns what the features of a set's images depend on."""
    facts = _facts_of_settings(settings, OF_THE_PASS)
    return {**facts, "weights": weights.sha256, **identify_source(source)}


def _facts_of_settings(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    facts = {name: getattr(settings, name) for name in names if name != "extractor"}
    if settings.extractor is not None:
        facts["extractor"] = settings.extractor.name
    return {**facts, "protocol": settings.protocol.name, "version": metadata.version("jaxfid")}


def _identify(sample: Sample) -> dict[str, Any]:
    statistics = {f"statistics of {n}": _digest(s) for n, s in sorted(sample.stats.items())}
    return statistics if sample.source is None else statistics | identify_source(sample.source)


def _digest(stats: Stats) -> str:
    digest = hashlib.sha256()
    for array in (stats.mean, stats.cov):
        digest.update(array.tobytes())
    return digest.hexdigest()
