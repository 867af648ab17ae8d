"""The table of a comparison: as text, as CSV, as JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.metrics.comparison import compare_sets
from jaxfid.metrics.registry import heading
from jaxfid.report.run_folder import Entry, RunFolder
from jaxfid.report.text_table import align_columns
from jaxfid.result import Comparison, SetResult


def compare_entries(entries: Sequence[Entry]) -> dict[tuple[str, str], Comparison]:
    """Returns, by metric and checkpoint, how each scored checkpoint compares with the best one."""
    scored = [entry.scores for entry in entries if entry.scores is not None]
    return {(found.metric, found.other): found for found in compare_sets(scored)}


def metric_names(entries: Sequence[Entry]) -> list[str]:
    """Returns the metrics of the entries, in the order in which they were asked for."""
    scored = (entry.scores.metrics for entry in entries if entry.scores is not None)
    return list(dict.fromkeys(name for metrics in scored for name in metrics))


def format_table(entries: Sequence[Entry]) -> str:
    """Returns the table as lines of text, a row for each checkpoint."""
    names, comparisons = metric_names(entries), compare_entries(entries)
    compared = [n for n in names if any(metric == n for metric, _ in comparisons)]
    head = ["checkpoint", "step", *map(heading, names), *(f"{heading(n)} - best" for n in compared)]
    rows = [_row(entry, names, compared, comparisons) for entry in entries]
    return align_columns([head, *rows])


def _row(
    entry: Entry,
    names: Sequence[str],
    compared: Sequence[str],
    comparisons: Mapping[tuple[str, str], Comparison],
) -> list[str]:
    start = [entry.name, "" if entry.step is None else str(entry.step)]
    if entry.scores is None:
        return [*start, *("none" for _ in names), *("" for _ in compared)]
    metrics = entry.scores.metrics
    values = [str(metrics[name]) if name in metrics else "" for name in names]
    gaps = [describe_gap(comparisons.get((name, entry.name))) for name in compared]
    return [*start, *values, *gaps]


def describe_gap(comparison: Comparison | None) -> str:
    """Returns a difference from the best in a few words; of the best itself there is none."""
    if comparison is None:
        return "best"
    gap = f"{comparison.difference:.3g} +- {comparison.stderr:.2g}"
    return gap if comparison.conclusive else f"{gap}, inconclusive"


def format_csv(entries: Sequence[Entry]) -> str:
    """Returns the table as CSV: values, standard errors, differences from the best one."""
    names, comparisons = metric_names(entries), compare_entries(entries)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _columns(names), lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        row: dict[str, Any] = {
            "checkpoint": entry.name,
            "step": entry.step,
            "failure": entry.failure,
        }
        if entry.scores is not None:
            row["num_images"] = entry.scores.num_images
            for name, metric in entry.scores.metrics.items():
                row |= {name: metric.value, f"{name}_stderr": metric.stderr}
                if (gap := comparisons.get((name, entry.name))) is not None:
                    row[f"{name}_difference"] = gap.difference
                    row[f"{name}_difference_stderr"] = gap.stderr
                    row[f"{name}_conclusive"] = gap.conclusive
        writer.writerow(row)
    return buffer.getvalue()


def _columns(names: Sequence[str]) -> list[str]:
    parts = ("", "_stderr", "_difference", "_difference_stderr", "_conclusive")
    metrics = [f"{name}{part}" for name in names for part in parts]
    return ["checkpoint", "step", "num_images", *metrics, "failure"]


def format_json(run: RunFolder) -> str:
    """Returns all that is known of the run as JSON."""
    comparisons = compare_entries(run.entries).values()
    fields = {
        **run.about,
        "identity": run.identity,
        "results": [entry.to_fields() for entry in run.entries],
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }
    return json.dumps(fields, indent=2) + "\n"


def format_classes(result: SetResult) -> str:
    """Returns a table of a set's classes, with their means below."""
    classes, means = result.classes or {}, result.class_means or {}
    head = ["class", "images", *means]
    rows = [
        [name, str(of.num_images), *(str(of.metrics[metric]) for metric in means)]
        for name, of in classes.items()
    ]
    last = [f"mean of {len(classes)}", "", *(f"{mean:.6g}" for mean in means.values())]
    return align_columns([head, *rows, last])
