"""Curves of a sweep: one for each combination of settings, each of a colour of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

NUM_COLOURS = 8
"""As many as eyes tell apart; further curves have them again, with dashes."""

COLOURS = [f"#0405{number:02d}" for number in range(NUM_COLOURS)]
"""Stand-ins, which become the page's variables."""

_DASHES = ("-", "--", ":", "-.")

Places = Float[np.ndarray, " _"]


def name_colour(number: int) -> str:
    """Returns the class that the page's style has for a curve's colour and dashes."""
    return f"c{number % NUM_COLOURS}"


def draw_groups(
    axes: Axes, places: Places, values: Places, half: Places, groups: Sequence[str]
) -> None:
    """Draws a line through the means of each group; points, with error bars where none are replicates.

    Args:
      axes: Where.
      places: Each point's place along its curve.
      values: Its height.
      half: Half the height of its error bar.
      groups: The curve that it is on.
    """
    of_points = np.array(groups)
    for number, group in enumerate(dict.fromkeys(groups)):
        chosen = of_points == group
        x, y = places[chosen], values[chosen]
        style: dict[str, Any] = {"color": COLOURS[number % NUM_COLOURS], "zorder": 3}
        means = mean_line(x, y)
        axes.plot(*means, _DASHES[number // NUM_COLOURS % len(_DASHES)], linewidth=2, **style)
        if len(means[0]) < len(x):  # replicates show their spread themselves
            axes.plot(x, y, "o", ms=3, alpha=0.6, **style)
        else:
            axes.errorbar(x, y, half[chosen], fmt="o", ms=5, elinewidth=1, **style)


def mean_line(places: Places, values: Places) -> tuple[Places, Places]:
    """Returns the places, each once and in order, and the means of the values there."""
    distinct = np.unique(places)
    return distinct, np.array([values[places == place].mean() for place in distinct])
