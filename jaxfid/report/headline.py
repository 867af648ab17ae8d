"""The first sentences of the page: what was compared under which conditions, and what came out."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.images.interface import name_some
from jaxfid.metrics.model_difference import RETRAINING_REMARK
from jaxfid.metrics.registry import greater_is_better, heading
from jaxfid.report.entries import Entry
from jaxfid.report.models import Model
from jaxfid.report.row_names import short_names
from jaxfid.report.tables import Comparisons, find_best, known_metric, show_metric
from jaxfid.result.rounding import format_value

_FRECHET = {
    "fid": "Frechet distance of these features",
    "sfid": "spatial Frechet distance of these features",
    "fid_infinity": "extrapolated Frechet distance of these features",
}
"""What a metric is with weights that are not official: by its name it would claim to be an FID."""

_MOST_NAMES = 4
"""Of a sentence that is still read."""


def describe_conditions(provenance: Mapping[str, Any]) -> str:
    """Returns reference, protocol and weights in a line; empty where nothing is known yet."""
    reference, protocol, weights = (
        _section(provenance, name) for name in ("reference", "protocol", "weights")
    )
    parts = []
    if "name" in reference:
        count = reference.get("num_images")
        images = f", {count:,} images" if isinstance(count, int) else ""
        parts.append(f"Against {reference['name']}{images}")
    if "name" in protocol:
        parts.append(f"protocol {protocol['name']}")
    if "dims" in protocol:
        parts.append(f"{protocol['dims']} features")
    if "name" in weights:
        kind = ", which are not the official ones" if is_unofficial(provenance) else ""
        parts.append(f"weights {weights['name']}{kind}")
    return "; ".join(parts)


def is_unofficial(provenance: Mapping[str, Any]) -> bool:
    """Returns whether the network is known not to be the one that published scores are made with."""
    return _section(provenance, "weights").get("official") is False


def describe_best(entries: Sequence[Entry], comparisons: Comparisons, *, unofficial: bool) -> str:
    """Returns a sentence: which checkpoint is best in the first metric, and whether that is sure.

    Args:
      entries: The checkpoints.
      comparisons: Each one's difference from the best.
      unofficial: Whether the weights are not the official ones, so that no number is an FID.
    """
    name = first_metric(entries)
    if name is None:
        return "No checkpoint could be scored."
    best = find_best(entries, name)
    # A page that is passed on must not claim an FID where a dry run was made.
    which = _superlative(name, unofficial)
    value, called = show_metric(known_metric(best[0], name)), short_names(entries)
    if len(best) > 1:
        names = _join([called[entry.name] for entry in best])
        return f"The {which} is that of several checkpoints, {value}: {names}."
    close = _not_told_apart(name, best[0].name, comparisons)
    lead = "" if close is None else _describe_lead([called.get(other, other) for other in close])
    return f"Checkpoint {called[best[0].name]} has the {which}, {value}{lead}."


def describe_best_model(
    models: Sequence[Model], comparisons: Comparisons, name: str, *, unofficial: bool
) -> str:
    """Returns the same sentence of models with replicates, by their means, with what these are over.

    Args:
      models: From `find_models`, at least one with a value of the metric.
      comparisons: Each one's difference from the best.
      name: The metric.
      unofficial: As in `describe_best`.
    """
    known = [found for model in models if (found := model.summarise(name)) is not None]
    choose = max if greater_is_better(name) else min
    best = choose(known, key=lambda summary: summary.mean)
    value = format_value(best.mean, best.sampling if best.stderr is None else best.stderr)
    over = f" over {best.count} {best.seeds}" if best.count > 1 else " of one draw"
    close = _not_told_apart(name, best.name, comparisons)
    lead = "" if close is None else _describe_lead(close)
    model = best.name[:1].upper() + best.name[1:] if best.name.startswith("step ") else best.name
    end = "" if best.count > 1 and best.seeds == "training seeds" else f"; {RETRAINING_REMARK}"
    return f"{model} has the {_superlative(name, unofficial)}, {value}{over}{lead}{end}."


def _superlative(name: str, unofficial: bool) -> str:
    title = _FRECHET.get(name, heading(name)) if unofficial else heading(name)
    return f"{'highest' if greater_is_better(name) else 'lowest'} {title}"


def first_metric(entries: Sequence[Entry]) -> str | None:
    """Returns the first metric that any checkpoint has a value of."""
    known = (
        name
        for entry in entries
        if entry.scores is not None
        for name in entry.scores.metrics
        if known_metric(entry, name) is not None
    )
    return next(known, None)


def _not_told_apart(name: str, best: str, comparisons: Comparisons) -> list[str] | None:
    """Names of those that may be as good as the best, nearest first; None if none was compared."""
    gaps = [gap for (metric, _), gap in comparisons.items() if metric == name]
    gaps = sorted((g for g in gaps if g.best == best), key=lambda gap: abs(gap.difference))
    return [gap.other for gap in gaps if not gap.conclusive] if gaps else None


def _describe_lead(close: Sequence[str]) -> str:
    if close:
        return f"; its lead over {_join_some(close)} is not more than chance may do"
    return "; its lead over every other one is more than chance"


def _join_some(names: Sequence[str]) -> str:
    """The first of many, which a sweep may have."""
    if len(names) <= _MOST_NAMES:
        return _join(names)
    return _join([*names[: _MOST_NAMES - 1], f"{len(names) - _MOST_NAMES + 1} others"])


def _join(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def collect_warnings(entries: Sequence[Entry]) -> list[str]:
    """Returns what a reader has to know, each once, with the sets that it holds of."""
    scored = [(entry.name, entry.scores) for entry in entries if entry.scores is not None]
    # Else a hundred checkpoints would give a hundred warnings that differ in a name.
    said_of: dict[str, list[str]] = {}
    for name, scores in scored:
        for warning in scores.warnings:
            text = warning.removeprefix(f"{name}: ")
            names = said_of.setdefault(text, [])
            if text != warning:
                names.append(name)
    return [_name_sets(names, len(scored)) + text for text, names in said_of.items()]


def _name_sets(names: Sequence[str], count: int) -> str:
    """What stands before a warning of these sets out of so many; nothing before one of no set."""
    if not names:
        return ""
    return f"{name_some(names) if len(names) < count else 'each set'}: "


def _section(provenance: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of the provenance; empty where a damaged file holds something else."""
    found = provenance.get(name)
    return found if isinstance(found, Mapping) else {}
