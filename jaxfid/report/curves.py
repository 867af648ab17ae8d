"""Curves of a metric over the steps, as SVG that takes its colours from the page around it."""

import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from jaxfid.report.run_folder import Entry
from jaxfid.result import Metric

BAND_STDERRS = 2
"""Half the height of the band, in standard errors."""

LOG_FROM_RATIO = 20
"""From this ratio of the largest value to the smallest on, the axis is logarithmic."""

# Stand-ins, which become the page's variables: a picture of one colour would suit one theme.
_COLOURS = {"#010101": "var(--ink-soft)", "#020202": "var(--rule)", "#030303": "var(--accent)"}
_INK, _RULE, _ACCENT = _COLOURS
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxfid",
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


def draw_curve(metric: str, entries: Sequence[Entry], *, point_ids: Sequence[str]) -> str:
    """Returns the curve of a metric as an SVG element, its band of two standard errors each way.

    Where every entry has a step, steps are the horizontal axis, else the entries in their order.

    Args:
      metric: Which one; every entry has it.
      entries: In the order of the curve.
      point_ids: What the element over each point is called, after the metric's name and a dash.
    """
    metrics = [_metric(entry, metric) for entry in entries]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6, 3.2), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        places = _draw_places(axes, entries)
        _draw_values(axes, places, metrics)
        for place, known, point_id in zip(places, metrics, point_ids, strict=True):
            # Invisible, above all else, and large, to be hit by a finger.
            axes.plot(
                place, known.value, "o", ms=20, alpha=0, color=_ACCENT, gid=point_id, zorder=9
            )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _as_element(buffer.getvalue(), metric)


def _metric(entry: Entry, name: str) -> Metric:
    assert entry.scores is not None
    return entry.scores.metrics[name]


def _draw_places(axes: Axes, entries: Sequence[Entry]) -> np.ndarray:
    """Sets the horizontal axis, and returns each entry's place on it."""
    steps = [entry.step for entry in entries]
    if None not in steps and len(set(steps)) == len(steps):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(_plain())
        return np.array(steps)
    places = np.arange(len(entries))
    axes.set_xticks(places, [entry.name for entry in entries], rotation=30, ha="right")
    return places


def _draw_values(axes: Axes, places: np.ndarray, metrics: Sequence[Metric]) -> None:
    values = np.array([metric.value for metric in metrics])
    stderrs = np.array([metric.stderr or 0.0 for metric in metrics])
    low, high = values - BAND_STDERRS * stderrs, values + BAND_STDERRS * stderrs
    if len(values) > 1 and low.min() > 0 and values.max() > LOG_FROM_RATIO * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylabel("log scale")
    else:
        axes.yaxis.set_major_formatter(_plain())
    axes.grid(axis="y", linewidth=0.8)
    axes.tick_params(length=0)
    axes.fill_between(places, low, high, color=_ACCENT, alpha=0.18, linewidth=0)
    axes.errorbar(
        places, values, BAND_STDERRS * stderrs, color=_ACCENT, elinewidth=1, linewidth=2, zorder=3
    )
    axes.plot(places, values, "o", ms=5, color=_ACCENT, zorder=4)


def _plain() -> ScalarFormatter:
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    return formatter


def _as_element(document: str, prefix: str) -> str:
    """The `svg` element alone, in the page's colours and width, its identifiers its own."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    for size in ("width", "height"):
        element = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", element, count=1)
    for stand_in, colour in _COLOURS.items():
        element = element.replace(stand_in, colour)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", element)
