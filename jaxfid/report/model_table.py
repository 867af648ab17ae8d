"""The table of the models of a comparison: what their replicates tell, a row for each."""

from collections.abc import Iterable, Sequence

from jaxfid.metrics.registry import heading
from jaxfid.report.entries import Entry
from jaxfid.report.models import Model, compare_models, find_models
from jaxfid.report.printable import printable
from jaxfid.report.row_names import show_settings, swept_names
from jaxfid.report.tables import Comparisons, describe_gap, format_table, metric_names
from jaxfid.report.text_table import fit_columns
from jaxfid.result.models import Replicates
from jaxfid.result.rounding import format_value


def format_tables(entries: Sequence[Entry]) -> str:
    """Returns the table of the checkpoints as text and, where they have replicates, that of the models."""
    rows, num_names = model_rows(entries), 1 + len(swept_names(entries))
    models = [fit_columns(rows, num_names=num_names)] if rows else []
    return "\n\n".join([format_table(entries), *models])


def model_rows(entries: Sequence[Entry]) -> list[list[str]]:
    """Returns the head and a row for each model; empty where there are no replicates."""
    models, names = find_models(entries), metric_names(entries)
    if not models:  # the table of the checkpoints says it all
        return []
    comparisons = compare_models(models, names)
    compared = [name for name in names if any(metric == name for metric, _ in comparisons)]
    swept = swept_names(entries)
    head = ["model", *swept, "over"]
    for name in names:
        gap = [f"{heading(name)} - best"] if name in compared else []
        head += [heading(name), f"{heading(name)} spread", *gap]
    rows = [
        [
            model.own_name,
            *show_settings(model.swept, swept),
            *_make_row(model, names, compared, comparisons),
        ]
        for model in models
    ]
    return [[printable(cell) for cell in row] for row in (head, *rows)]


def _make_row(
    model: Model, names: Sequence[str], compared: Sequence[str], comparisons: Comparisons
) -> list[str]:
    summaries = {name: model.summarise(name) for name in names}
    row = [describe_replicates(summaries.values())]
    for name, summary in summaries.items():
        row += _show(summary)
        if name in compared:
            gap = comparisons.get((name, model.name))
            row.append("" if summary is None else describe_gap(gap))
    return row


def describe_replicates(summaries: Iterable[Replicates | None]) -> str:
    """Returns how many replicates there are of which kind, such as `3 training seeds`."""
    known = [summary for summary in summaries if summary is not None]
    most = max(known, key=lambda summary: summary.count, default=None)
    if most is None:
        return "none"
    return f"{most.count} {most.seeds}" if most.count > 1 else "one draw"


def _show(summary: Replicates | None) -> tuple[str, str]:
    """A mean with its standard error, and the spread between replicates.

    An error of 0 is left out, as in `show_metric`.
    """
    if summary is None:
        return "none", ""
    if summary.spread is None:
        return format_value(summary.mean, summary.sampling or None), ""
    return format_value(summary.mean, summary.stderr or None), f"{summary.spread:.2g}"
