"""The curves of the page: one for each metric, with what stands above it."""

import dataclasses
from collections.abc import Sequence

from markupsafe import Markup

from jaxfid.metrics.registry import greater_is_better, heading
from jaxfid.report.axes import Axis, choose_axis
from jaxfid.report.curves import BAND_STDERRS, Band, Point, draw_curve
from jaxfid.report.grouped_curves import name_colour
from jaxfid.report.models import Model
from jaxfid.report.rows import Row
from jaxfid.report.tables import known_metric
from jaxfid.result.models import Seeds


@dataclasses.dataclass(frozen=True)
class Chart:
    """A metric's curve: `legend` has the kind of each mark and what it means, where marks are several."""

    identifier: str
    column: int
    heading: str
    direction: str
    band: str
    legend: Sequence[tuple[str, str]]
    svg: Markup


def make_chart(
    column: int, name: str, rows: Sequence[Row], models: Sequence[Model]
) -> Chart | None:
    """Returns a metric's curve; None where no checkpoint has a value of it.

    Args:
      column: The metric's place in the table.
      name: The metric.
      rows: The checkpoints.
      models: Those that have replicates, or none.
    """
    axis = choose_axis([row.entry for row in rows])
    known = [point for row in rows if (point := _make_point(row, name, axis)) is not None]
    if not known:
        return None
    # A checkpoint called `best` has no place on a curve over steps.
    stepped = [point for point in known if point.step is not None]
    points = stepped if len(stepped) > 1 else known
    # Not the metric's name: identifiers of the page are made of nothing out of a file.
    identifier = f"chart{column}"
    band = None if axis.is_swept else _make_band(name, models)
    return Chart(
        identifier=identifier,
        column=column,
        heading=heading(name),
        direction="more is better" if greater_is_better(name) else "less is better",
        band=_describe_band(points, axis, left_out=len(known) - len(points)),
        legend=_make_group_legend(points) if axis.is_swept else _make_legend(points, band),
        svg=draw_curve(
            points, prefix=identifier, band=band, axis=axis.label, grouped=axis.is_swept
        ),
    )


def _make_band(name: str, models: Sequence[Model]) -> Band | None:
    """The means of the replicates: of training runs where any step has several, else of draws."""
    known = [(m.step, s) for m in models if (s := m.summarise(name)) and s.spread is not None]
    kinds: set[Seeds] = {summary.seeds for _, summary in known}
    if not kinds:
        return None
    kind: Seeds = "training seeds" if "training seeds" in kinds else "noise seeds"
    places = [
        (step, summary.mean, summary.spread)
        for step, summary in known
        if step is not None and summary.spread is not None and summary.seeds == kind
    ]
    return Band(kind, places)


def _make_point(row: Row, name: str, axis: Axis) -> Point | None:
    metric = known_metric(row.entry, name)
    if metric is None or metric.value is None:
        return None
    entry = row.entry
    return Point(
        row.identifier,
        row.name,
        axis.place(entry),
        metric.value,
        metric.stderr,
        entry.run,
        entry.noise_seed,
        axis.group(entry),
    )


def _make_group_legend(points: Sequence[Point]) -> list[tuple[str, str]]:
    groups = dict.fromkeys(point.group for point in points)
    legend = [(f"line {name_colour(i)}", group) for i, group in enumerate(groups) if group]
    if not _are_replicates(points):
        return legend
    draws = any(point.noise_seed is not None for point in points)
    return [("dot", "each draw" if draws else "each run"), *legend]


def _make_legend(points: Sequence[Point], band: Band | None) -> list[tuple[str, str]]:
    if not _are_replicates(points):
        return []
    draws = any(point.noise_seed is not None for point in points)
    legend = [("dot", "each draw" if draws else "each run")]
    if len({point.run for point in points}) > 1:
        legend.append(("thread", "a run"))
    if band is not None and band.places and all(point.step is not None for point in points):
        between = "runs" if band.seeds == "training seeds" else band.seeds
        legend.append(("line", f"mean of the {between}"))
        legend.append(("band", f"1 standard deviation between {between}"))
    return legend


def _are_replicates(points: Sequence[Point]) -> bool:
    return len({(point.run, point.noise_seed) for point in points}) > 1


def _describe_band(points: Sequence[Point], axis: Axis, *, left_out: int) -> str:
    end = f"; {left_out} without a {axis.label} left out" if left_out else ""
    if _are_replicates(points):
        return f"; lines through means{end}" if axis.is_swept else end
    known = any(point.stderr for point in points)
    mark = "bars" if axis.is_swept else "band"
    return f"; {mark} \N{PLUS-MINUS SIGN} {BAND_STDERRS} standard errors{end}" if known else end
