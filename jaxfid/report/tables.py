"""The table of a comparison: as text, as CSV, as JSON."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.metrics.comparison import compare_sets
from jaxfid.metrics.registry import greater_is_better, heading
from jaxfid.report.entries import Entry
from jaxfid.report.models import compare_models, find_models, to_results
from jaxfid.report.printable import printable
from jaxfid.report.row_names import label_rows, show_settings, swept_names
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.text_table import align_columns, fit_columns
from jaxfid.result import Comparison, MetricValue, SetResult

_DRAWS = ("run", "noise_seed")
_CSV_PARTS = ("", "_stderr", "_difference", "_difference_stderr", "_conclusive")

Comparisons = Mapping[tuple[str, str], Comparison]
"""By metric and checkpoint."""


def known_value(entry: Entry, name: str) -> float | None:
    """Returns the value of a metric; None where the checkpoint has none that is a finite number."""
    metric = None if entry.scores is None else entry.scores.metrics.get(name)
    value = None if metric is None else metric.value
    return value if value is not None and math.isfinite(value) else None


def known_metric(entry: Entry, name: str) -> MetricValue | None:
    """Returns a metric of a checkpoint, where `known_value` is not None."""
    if entry.scores is None or known_value(entry, name) is None:
        return None
    return entry.scores.metrics[name]


def show_metric(metric: MetricValue | None) -> str:
    """Returns a metric as tables show it."""
    if metric is None:
        return "none"
    return str(metric)


def metric_names(entries: Sequence[Entry]) -> list[str]:
    """Returns the metrics of the entries, in the order in which they were asked for."""
    scored = (entry.scores.metrics for entry in entries if entry.scores is not None)
    return list(dict.fromkeys(name for metrics in scored for name in metrics))


def find_best(entries: Sequence[Entry], name: str) -> list[Entry]:
    """Returns the checkpoints with the best value: several where they tie, none where nothing is known."""
    known = [(value, e) for e in entries if (value := known_value(e, name)) is not None]
    choose = max if greater_is_better(name) else min
    # All that tie, because a table that marks the first of them would decide by the order of names.
    best = choose((value for value, _ in known), default=None)
    return [entry for value, entry in known if value == best]


def compare_entries(entries: Sequence[Entry]) -> Comparisons:
    """Returns, by metric and checkpoint, how each scored checkpoint compares with the best one."""
    scored = [
        # Without metrics that have no finite value: a NaN would be neither better nor worse than any.
        dataclasses.replace(
            entry.scores,
            metrics={n: m for n in entry.scores.metrics if (m := known_metric(entry, n))},
        )
        for entry in entries
        if entry.scores is not None
    ]
    return {(found.metric, found.other): found for found in compare_sets(scored)}


def _compare_unreplicated(entries: Sequence[Entry]) -> Comparisons:
    """Single draws of a model are not compared with each other: the best of them is best by luck."""
    return {} if find_models(entries) else compare_entries(entries)


def describe_gap(comparison: Comparison | None) -> str:
    """Returns a difference from the best in a few words; of the best itself there is none."""
    if comparison is None:
        return "best"
    if comparison.difference == 0:
        return "equal"
    gap = show_metric(MetricValue(comparison.difference, comparison.stderr))
    return gap if comparison.conclusive else f"{gap}, inconclusive"


def format_table(entries: Sequence[Entry]) -> str:
    """Returns the table as lines of text, a row for each checkpoint.

    Where checkpoints have replicates, these are what is compared: `model_table` shows it.
    """
    names, comparisons = metric_names(entries), _compare_unreplicated(entries)
    compared = [n for n in names if any(metric == n for metric, _ in comparisons)]
    heads = {name: printable(heading(name)) for name in names}
    head = [*heads.values(), *(f"{heads[name]} - best" for name in compared)]
    labels = label_rows(entries)
    rows = [_cells(entry, names, compared, comparisons) for entry in entries]
    table = [[*label, *cells] for label, cells in zip(labels, [head, *rows], strict=True)]
    return fit_columns(table, num_names=len(labels[0]))


def _cells(
    entry: Entry, names: Sequence[str], compared: Sequence[str], comparisons: Comparisons
) -> list[str]:
    known = {name: known_metric(entry, name) for name in names}
    values = [show_metric(known[name]) for name in names]
    gaps = [
        "" if known[name] is None else describe_gap(comparisons.get((name, entry.name)))
        for name in compared
    ]
    return [*values, *gaps]


def format_csv(entries: Sequence[Entry]) -> str:
    """Returns the table as CSV: values, standard errors, differences from the best one.

    With replicates there are columns of runs and noise seeds, and the differences are empty. Each setting of
    a sweep has a column.
    """
    names, comparisons = metric_names(entries), _compare_unreplicated(entries)
    metrics = [f"{name}{part}" for name in names for part in _CSV_PARTS]
    draws = [n for n in _DRAWS if any(getattr(entry, n) is not None for entry in entries)]
    swept = swept_names(entries)
    columns = ["checkpoint", "step", *draws, *swept, "num_images", *metrics, "failure"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writerow({column: printable(column) for column in columns})
    for entry in entries:
        draw = {name: getattr(entry, name) for name in draws}
        if draw.get("run") is not None:
            draw["run"] = printable(draw["run"])
        settings = dict(zip(swept, show_settings(entry.swept, swept), strict=True))
        writer.writerow(settings | _csv_row(entry, names, comparisons) | draw)
    return buffer.getvalue()


def _csv_row(entry: Entry, names: Sequence[str], comparisons: Comparisons) -> dict[str, Any]:
    failure = None if entry.failure is None else printable(entry.failure)
    row = {"checkpoint": printable(entry.name), "step": entry.step, "failure": failure}
    row["num_images"] = None if entry.scores is None else entry.scores.num_images
    for name in names:
        if (metric := known_metric(entry, name)) is not None:
            row |= {name: metric.value, f"{name}_stderr": metric.stderr}
        if (gap := comparisons.get((name, entry.name))) is not None:
            values = (gap.difference, gap.stderr, gap.conclusive)
            row |= {f"{name}{part}": v for part, v in zip(_CSV_PARTS[2:], values, strict=True)}
    return row


def format_json(run: RunFolder) -> str:
    """Returns all that is known of the run as JSON."""
    models, names = find_models(run.entries), metric_names(run.entries)
    found = compare_models(models, names) if models else compare_entries(run.entries)
    fields = {
        **run.provenance,
        "identity": run.identity,
        "results": [entry.to_fields() for entry in run.entries],
        "comparisons": [dataclasses.asdict(comparison) for comparison in found.values()],
        "replicates": [dataclasses.asdict(model) for model in to_results(models, names)],
    }
    return json.dumps(fields, indent=2) + "\n"


def format_set(result: SetResult, among: Sequence[str] = ()) -> str:
    """Returns a set's values: in one line, or a line for each of several metrics below each other.

    Args:
      result: The set.
      among: The names of all sets that are shown, so that their values stand below each other.
    """
    name = printable(result.generated)
    if len(result.metrics) == 1:
        line = printable(str(result)).removeprefix(f"{name}:")
        width = max((len(printable(other)) for other in among), default=0)
        return f"{name}:".ljust(width + 1) + line
    rows = [
        [f"  {metric}" + (f" ({value.space})" if value.space else ""), printable(str(value))]
        for metric, value in result.metrics.items()
    ]
    # Without a head, which would push the values to the right of a long name.
    _, _, lines = align_columns([["", ""], *rows]).partition("\n")
    return f"{name}: {result.describe_count()}\n{lines}"


def format_classes(result: SetResult) -> str:
    """Returns a table of a set's classes, with their means below."""
    classes, means = result.classes or {}, result.class_means or {}
    head = ["class", "images", *means]
    rows = [
        [printable(name), str(of.num_images), *(str(of.metrics[metric]) for metric in means)]
        for name, of in classes.items()
    ]
    last = [f"mean of {len(classes)}", "", *(f"{mean:.6g}" for mean in means.values())]
    return align_columns([head, *rows, last])
