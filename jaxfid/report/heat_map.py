"""A metric over two settings of a sweep, as a table whose cells are the deeper the better."""

import dataclasses
import math
from collections.abc import Sequence

from jaxfid.metrics.registry import greater_is_better, heading
from jaxfid.report.axes import varying_settings
from jaxfid.report.entries import Entry
from jaxfid.report.model_table import describe_replicates
from jaxfid.report.models import Model
from jaxfid.report.row_names import row_labels, swept_names
from jaxfid.report.rows import show_sign
from jaxfid.report.swept import Swept, order_settings, show_setting
from jaxfid.report.tables import known_metric, show_metric
from jaxfid.result.rounding import format_value

_DEEPEST_PERCENT = 60
"""Of the accent's colour under the best cell: the text on it stays readable."""


@dataclasses.dataclass(frozen=True)
class HeatCell:
    """A combination: its value and error, and how many percent of the accent's colour lie under them."""

    value: str
    error: str = ""
    percent: int = 0
    best: bool = False


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """A table of two settings: `rows` hold the second setting's value and a cell for each of the first's."""

    heading: str
    direction: str
    caption: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[HeatCell]]]


@dataclasses.dataclass(frozen=True)
class _Known:
    """A combination's value at one checkpoint: `place` is that checkpoint, `over` what the mean is over."""

    place: str
    swept: Swept
    value: float
    text: str
    over: str


def make_heat_map(name: str, entries: Sequence[Entry], models: Sequence[Model]) -> HeatMap | None:
    """Returns a metric's heat map at the best value's checkpoint; None where not two settings vary.

    Args:
      name: The metric.
      entries: The rows.
      models: Those that have replicates, whose means are shown; or none.
    """
    settings = varying_settings(entries)
    known = _of_models(name, models) if models else _of_entries(name, entries)
    if len(settings) != 2 or len(swept_names(entries)) != 2 or not known:
        return None
    best = (max if greater_is_better(name) else min)(known, key=lambda one: one.value)
    shown = [one for one in known if one.place == best.place]
    across, down = settings
    percents = _percents([one.value for one in shown], best.value)
    cells = {
        (show_setting(one.swept[across]), show_setting(one.swept[down])): HeatCell(
            *_split(one.text), percent, one.value == best.value
        )
        for one, percent in zip(shown, percents, strict=True)
    }
    columns, rows = (_values(shown, setting) for setting in settings)
    over = f", mean over {best.over}" if best.over else ""
    return HeatMap(
        heading=heading(name),
        direction="more is better" if greater_is_better(name) else "less is better",
        caption=f"at {best.place}{over}",
        corner=f"{down} \N{DOWNWARDS ARROW}  {across} \N{RIGHTWARDS ARROW}",
        columns=columns,
        rows=[
            (row, [cells.get((column, row), HeatCell("")) for column in columns]) for row in rows
        ],
    )


def _of_models(name: str, models: Sequence[Model]) -> list[_Known]:
    return [
        _Known(
            model.own_name,
            model.swept,
            found.mean,
            format_value(
                found.mean, (found.sampling if found.stderr is None else found.stderr) or None
            ),
            describe_replicates([found]) if found.count > 1 else "",
        )
        for model in models
        if (found := model.summarise(name)) is not None
    ]


def _of_entries(name: str, entries: Sequence[Entry]) -> list[_Known]:
    called = row_labels(entries)
    return [
        _Known(f"checkpoint {called[entry.name]}", entry.swept, found.value, show_metric(found), "")
        for entry in entries
        if (found := known_metric(entry, name)) is not None and found.value is not None
    ]


def _split(text: str) -> tuple[str, str]:
    """A value and its error, which have a line each; a power of ten keeps them together."""
    value, sign, error = text.partition(" +- ")
    whole = not sign or ")" in error
    return (show_sign(text), "") if whole else (value, show_sign(f"+- {error}"))


def _values(known: Sequence[_Known], setting: str) -> list[str]:
    """The values of a setting in words, numbers in order."""
    values = {show_setting(one.swept[setting]): one.swept[setting] for one in known}
    return sorted(values, key=lambda shown: order_settings({setting: values[shown]}))


def _percents(values: Sequence[float], best: float) -> list[int]:
    """How deep each cell is: from the best to the worst on a logarithmic scale."""
    distances = [abs(value - best) for value in values]
    furthest = max(distances)
    if furthest == 0:
        return [0 for _ in values]
    # By a logarithm, because one hopeless combination would make all others look alike.
    logs = [math.log1p(9 * distance / furthest) / math.log(10) for distance in distances]
    return [round(_DEEPEST_PERCENT * (1 - log)) for log in logs]
