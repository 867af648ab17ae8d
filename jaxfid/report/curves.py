"""Curves of a metric over the steps, as SVG that takes its colours from the page around it."""

import dataclasses
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from jaxfid.report.printable import printable

BAND_STDERRS = 2
"""Half the height of the band, in standard errors."""

LOG_FROM_RATIO = 20
"""From this ratio of the largest value to the smallest on, the axis is logarithmic."""

_MOST_TICKS = 7

# Stand-ins, which become the page's variables: a picture of one colour would suit one theme.
_COLOURS = {"#010101": "var(--ink-soft)", "#020202": "var(--rule)", "#030303": "var(--accent)"}
_INK, _RULE, _ACCENT = _COLOURS
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
    "legend.frameon": False,
}

Places = Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A checkpoint's place on a curve.

    Attributes:
      identifier: Of the element over it in the picture; letters, digits and dashes.
      name: What it is called where there are no steps.
      step: None where it has none.
      value: A finite number.
      stderr: None where it is not known.
      run: The training run, where there are several.
    """

    identifier: str
    name: str
    step: int | None
    value: float
    stderr: float | None = None
    run: str | None = None


def draw_curve(points: Sequence[Point], *, prefix: str) -> Markup:
    """Returns the curve through the points as an SVG element.

    Where every point has a step, steps are the horizontal axis, else the points in their order. Several runs
    of one model are drawn over each other: each a thin line through its points, and where runs
    have a step in common their mean, in a band of one standard deviation between them. A single
    run has a band of `BAND_STDERRS` standard errors each way.

    Args:
      points: In the order of the curve, at least one.
      prefix: Begins every identifier in the picture, so that two pictures share none; letters, digits and
        dashes.
    """
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The page's own fonts show what Matplotlib's cannot measure, such as Chinese.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=(6, 3.2), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        places = _draw_places(axes, points)
        _draw_scale(axes, points)
        runs = _split_runs(points)
        if len(runs) > 1:
            _draw_runs(axes, places, points, runs)
        else:
            _draw_run(axes, places, points)
        _draw_targets(axes, places, points, prefix)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _as_element(buffer.getvalue(), prefix)


def _split_runs(points: Sequence[Point]) -> Mapping[str | None, list[int]]:
    """Positions of the points of each run."""
    runs: dict[str | None, list[int]] = {}
    for position, point in enumerate(points):
        runs.setdefault(point.run, []).append(position)
    return runs


def _draw_places(axes: Axes, points: Sequence[Point]) -> Places:
    """Sets the horizontal axis, and returns each point's place on it."""
    steps = [point.step for point in points if point.step is not None]
    distinct = len({(point.run, point.step) for point in points}) == len(points)
    if len(steps) == len(points) and distinct:
        axes.set_xlabel("step")
        axes.set_xticks(_choose_ticks(steps))
        axes.xaxis.set_major_formatter(_plain())
        return np.array(steps, np.float64)
    places = np.arange(len(points), dtype=np.float64)
    few = places[:: -(-len(points) // (2 * _MOST_TICKS))]
    names = [printable(points[int(place)].name) for place in few]
    axes.set_xticks(few, names, rotation=30, ha="right")
    return places


def _choose_ticks(steps: Sequence[int]) -> list[int]:
    """Some of the steps, the first and the last among them, none too close to the one before."""
    ordered = sorted({*steps})
    least = (ordered[-1] - ordered[0]) / _MOST_TICKS
    ticks = ordered[:1]
    for step in ordered[1:-1]:
        if step - ticks[-1] >= least and ordered[-1] - step >= least:
            ticks.append(step)
    return [*ticks, *ordered[1:][-1:]]


def _draw_scale(axes: Axes, points: Sequence[Point]) -> None:
    values = [point.value for point in points]
    lowest = min(point.value - BAND_STDERRS * (point.stderr or 0) for point in points)
    axes.grid(axis="y", linewidth=0.8)
    axes.tick_params(length=0)
    if lowest > 0 and max(values) > LOG_FROM_RATIO * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylabel("log scale")
    else:
        axes.yaxis.set_major_formatter(_plain())


def _draw_run(axes: Axes, places: Places, points: Sequence[Point]) -> None:
    values = np.array([point.value for point in points])
    half = BAND_STDERRS * np.array([point.stderr or 0.0 for point in points])
    axes.fill_between(places, values - half, values + half, color=_ACCENT, alpha=0.18, linewidth=0)
    axes.errorbar(places, values, half, color=_ACCENT, elinewidth=1, linewidth=2, zorder=3)
    axes.plot(places, values, "o", ms=5, color=_ACCENT, zorder=4)


def _draw_runs(
    axes: Axes,
    places: Places,
    points: Sequence[Point],
    runs: Mapping[str | None, Sequence[int]],
) -> None:
    values = np.array([point.value for point in points])
    for positions in runs.values():
        chosen = list(positions)
        axes.plot(places[chosen], values[chosen], "-", linewidth=0.8, color=_INK, alpha=0.5)
    axes.plot(places, values, "o", ms=4, color=_INK, label="each run", zorder=3)
    shared = list(_spread_by_step(points))
    if shared and all(point.step is not None for point in points):  # else steps are not the axis
        steps, means, spreads = map(np.array, zip(*shared, strict=True))
        axes.plot(steps, means, linewidth=2, color=_ACCENT, label="mean of the runs", zorder=4)
        label = "1 standard deviation between runs"
        low, high = means - spreads, means + spreads
        axes.fill_between(steps, low, high, color=_ACCENT, alpha=0.18, linewidth=0, label=label)
    axes.legend(fontsize="small")


def _spread_by_step(points: Sequence[Point]) -> Iterator[tuple[int, float, float]]:
    """Step, mean and standard deviation (n - 1) of the runs, at every step that two of them have."""
    steps = sorted({point.step for point in points if point.step is not None})
    for step in steps:
        values = [point.value for point in points if point.step == step]
        if len(values) > 1:
            yield step, float(np.mean(values)), float(np.std(values, ddof=1))


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
    for stand_in, colour in _COLOURS.items():
        element = element.replace(stand_in, colour)
    return Markup(re.sub(rf'(\bid="|href="#|url\(#)(?!{prefix}-)', rf"\g<1>{prefix}-", element))
