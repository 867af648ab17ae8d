"""Curves of a metric over the steps, as SVG that takes its colours from the page around it."""

import dataclasses
import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from jaxfid.report.grouped_curves import COLOURS, draw_groups, mean_line, name_colour
from jaxfid.report.printable import printable
from jaxfid.result.models import Seeds

BAND_STDERRS = 2
"""Half the height of the band, in standard errors."""

LOG_FROM_RATIO = 20
"""From this ratio of the largest value to the smallest on, the axis is logarithmic."""

_MOST_TICKS = 7

# Stand-ins, which become the page's variables: a picture of one colour would suit one theme.
_COLOURS = {"#010101": "var(--ink-soft)", "#020202": "var(--rule)", "#030303": "var(--accent)"}
_INK, _RULE, _ACCENT = _COLOURS
_OF_GROUPS = {stand_in: f"var(--{name_colour(i)})" for i, stand_in in enumerate(COLOURS)}
_STYLE: dict[Any, Any] = {  # Matplotlib's own type of the names is not public
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxfid",
    # A checkpoint may be called $\frac{$, which is no formula.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _INK,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Places = Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A checkpoint's place on a curve.

    Attributes:
      identifier: Of the element over it in the picture; letters, digits and dashes.
      name: What it is called where there are no steps.
      step: Its step, or the setting along the curve; None where it has none.
      value: A finite number.
      stderr: None where it is not known.
      run: The training run, where there are several.
      noise_seed: What it was drawn from, where there are several draws of one checkpoint.
      group: The curve that it is on, where a sweep has several.
    """

    identifier: str
    name: str
    step: float | None
    value: float
    stderr: float | None = None
    run: str | None = None
    noise_seed: int | None = None
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Band:
    """What lies over the points of replicates: their mean at each step, and how far they spread.

    Attributes:
      seeds: What differs between the replicates.
      places: Step, mean and standard deviation (n - 1) at each step that has several.
    """

    seeds: Seeds
    places: Sequence[tuple[int, float, float]]


def draw_curve(
    points: Sequence[Point],
    *,
    prefix: str,
    band: Band | None = None,
    axis: str = "step",
    grouped: bool = False,
) -> Markup:
    """Returns the curve through the points as an SVG element.

    Where every point has a step, steps are the horizontal axis, else the points in their order. Replicates
    are drawn over each other: a dot for each, a thin line for each run, and the mean in its band of one
    standard deviation. Without replicates the band is `BAND_STDERRS` standard errors each way. The picture
    holds no legend, which would not fit where it is scaled down: the page has it.

    Args:
      points: In the order of the curve, at least one.
      band: The means of replicates; None where there are none.
      prefix: Begins every identifier in the picture, so that two pictures share none; letters, digits and
        dashes.
      axis: What lies along the curve.
      grouped: Whether each group is a curve of its own colour, as in a sweep.
    """
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The page's own fonts show what Matplotlib's cannot measure, such as Chinese.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=(6, 3.2), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        places = _draw_places(axes, points, axis)
        _draw_scale(axes, points, band)
        if grouped:
            values, half = _heights(points)
            draw_groups(axes, places, values, half, [point.group for point in points])
        elif len({(point.run, point.noise_seed) for point in points}) > 1:
            _draw_replicates(axes, places, points, band)
        else:
            _draw_run(axes, places, points)
        _draw_targets(axes, places, points, prefix)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _as_element(buffer.getvalue(), prefix)


def _draw_places(axes: Axes, points: Sequence[Point], axis: str) -> Places:
    """Sets the horizontal axis, and returns each point's place on it."""
    steps = [point.step for point in points if point.step is not None]
    distinct = len({(p.run, p.noise_seed, p.group, p.step) for p in points}) == len(points)
    if len(steps) == len(points) and distinct:
        axes.set_xlabel(printable(axis))
        axes.set_xticks(_choose_ticks(steps))
        axes.xaxis.set_major_formatter(_plain())
        return np.array(steps, np.float64)
    places = np.arange(len(points), dtype=np.float64)
    few = places[:: -(-len(points) // (2 * _MOST_TICKS))]
    names = [printable(points[int(place)].name) for place in few]
    axes.set_xticks(few, names, rotation=30, ha="right")
    return places


def _choose_ticks(steps: Sequence[float]) -> list[float]:
    """Some of the steps, the first and the last among them, none too close to the one before."""
    ordered = sorted({*steps})
    least = (ordered[-1] - ordered[0]) / _MOST_TICKS
    ticks = ordered[:1]
    for step in ordered[1:-1]:
        if step - ticks[-1] >= least and ordered[-1] - step >= least:
            ticks.append(step)
    return [*ticks, *ordered[1:][-1:]]


def _draw_scale(axes: Axes, points: Sequence[Point], band: Band | None) -> None:
    values = [point.value for point in points]
    ends = [point.value - BAND_STDERRS * (point.stderr or 0) for point in points]
    ends += [] if band is None else [mean - spread for _, mean, spread in band.places]
    lowest = min(ends)
    axes.grid(axis="y", linewidth=0.8)
    axes.tick_params(length=0)
    if lowest > 0 and max(values) > LOG_FROM_RATIO * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylabel("log scale")
    else:
        axes.yaxis.set_major_formatter(_plain())


def _draw_run(axes: Axes, places: Places, points: Sequence[Point]) -> None:
    values, half = _heights(points)
    axes.fill_between(places, values - half, values + half, color=_ACCENT, alpha=0.18, linewidth=0)
    axes.errorbar(places, values, half, color=_ACCENT, elinewidth=1, linewidth=2, zorder=3)
    axes.plot(places, values, "o", ms=5, color=_ACCENT, zorder=4)


def _heights(points: Sequence[Point]) -> tuple[Places, Places]:
    """The values, and half the heights of their error bars."""
    values = np.array([point.value for point in points])
    return values, BAND_STDERRS * np.array([point.stderr or 0.0 for point in points])


def _draw_replicates(
    axes: Axes, places: Places, points: Sequence[Point], band: Band | None
) -> None:
    runs = list(dict.fromkeys(point.run for point in points))
    for run in runs if len(runs) > 1 else ():
        chosen = [i for i, point in enumerate(points) if point.run == run]
        values = np.array([points[i].value for i in chosen])
        line = mean_line(places[chosen], values)
        axes.plot(*line, "-", linewidth=0.8, color=_INK, alpha=0.5)
    axes.plot(places, [point.value for point in points], "o", ms=4, color=_INK, zorder=3)
    steps_are_places = all(point.step is not None for point in points)
    if band is not None and band.places and steps_are_places:
        _draw_band(axes, band)


def _draw_band(axes: Axes, band: Band) -> None:
    steps, means, spreads = map(np.array, zip(*band.places, strict=True))
    axes.plot(steps, means, linewidth=2, color=_ACCENT, zorder=4)
    low, high = means - spreads, means + spreads
    axes.fill_between(steps, low, high, color=_ACCENT, alpha=0.18, linewidth=0)


def _draw_targets(axes: Axes, places: Places, points: Sequence[Point], prefix: str) -> None:
    """Draws what the pointer meets: invisible, above all else, and large, to be hit by a finger."""
    for place, point in zip(places, points, strict=True):
        identifier = f"{prefix}-{point.identifier}"
        axes.plot(place, point.value, "o", ms=20, alpha=0, color=_ACCENT, gid=identifier, zorder=9)


def _plain() -> ScalarFormatter:
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    return formatter


def _as_element(document: str, prefix: str) -> Markup:
    """The `svg` element alone, in the page's colours and width, its identifiers its own.

    It is markup as it stands: Matplotlib escapes the text that it draws, and identifiers are ours.
    """
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    for size in ("width", "height"):
        element = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", element, count=1)
    for stand_in, colour in (_COLOURS | _OF_GROUPS).items():
        element = element.replace(stand_in, colour)
    return Markup(re.sub(rf'(\bid="|href="#|url\(#)(?!{prefix}-)', rf"\g<1>{prefix}-", element))
