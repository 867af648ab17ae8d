"""Figures for notebooks and papers, by Matplotlib. Each returns its axes, to be changed as one likes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from jaxfid.metrics.registry import heading
from jaxfid.report.entries import Entry
from jaxfid.report.tables import known_metric
from jaxfid.stats.features import Features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 5000
_MOST_PICTURES = 64


def plot_curve(
    entries: Sequence[Entry], metric: str = "fid", *, ax: "Axes | None" = None
) -> "Axes":
    """Returns axes with a metric over the steps of checkpoints, with bars of one standard error.

    Args:
      entries: From `compare_checkpoints` or `compare_samples`.
      metric: Its name.
      ax: Where to draw; None for a figure of its own.

    Raises:
      InputError: No checkpoint with a step has a value of it.
    """
    known = sorted(
        (entry.step, found.value, found.stderr or 0.0)
        for entry in entries
        if (found := known_metric(entry, metric)) and found.value is not None
        if entry.step is not None
    )
    if not known:
        raise InputError(f"metric: expected one that checkpoints with steps have, found {metric!r}")
    steps, values, errors = zip(*known, strict=True)
    ax = _new_axes() if ax is None else ax
    ax.errorbar(steps, values, yerr=errors, marker="o", capsize=3)
    ax.set(xlabel="step", ylabel=heading(metric))
    return ax


def plot_pair(reference: Any, generated: Any, *, count: int = 8) -> "np.ndarray":  # noqa: ANN401
    """Returns axes `(2, count)` with images of the reference above images of the generated set.

    Args:
      reference: Images, as in `open_source`.
      generated: Likewise.
      count: How many of each, spread evenly over the set; 1 to 64.

    Raises:
      InputError: A set has too few images, or cannot be read.
    """
    if not 1 <= count <= _MOST_PICTURES:
        raise InputError(f"count: expected 1 to {_MOST_PICTURES}, found {count}")
    from matplotlib import pyplot

    sources = [open_source(images) for images in (reference, generated)]
    for source in sources:
        if len(source) < count:
            raise InputError(f"{source.name}: expected {count} images, found {len(source)}")
    _, axes = pyplot.subplots(2, count, figsize=(1.2 * count, 2.8), squeeze=False)
    for row, source in zip(axes, sources, strict=True):
        row[0].set_title(source.name, loc="left", fontsize="small")
        places = np.linspace(0, len(source) - 1, count).astype(int)
        for ax, place in zip(row, places, strict=True):
            ax.imshow(source.read(int(place)))
            ax.set_axis_off()
    return axes


def plot_features(
    reference: Float[np.ndarray, "..."] | Features,
    generated: Float[np.ndarray, "..."] | Features,
    *,
    ax: "Axes | None" = None,
) -> "Axes":
    """Returns axes with both sets' features along the two directions in which the reference varies most.

    Two directions of many: sets that lie on each other here may differ elsewhere.

    Args:
      reference: Features, at least two, of `compute_features` or as an array.
      generated: Features of the same width. Of either set 5,000 are drawn at most.
      ax: Where to draw; None for a figure of its own.

    Raises:
      InputError: There are fewer than two images or features, or the widths differ.
    """
    real, drawn = _rows(reference), _rows(generated)
    if real.ndim != 2 or real.shape[1:] != drawn.shape[1:] or min(real.shape) < 2:
        raise InputError(
            f"features: expected two arrays of one width, 2 or more each way, found {real.shape} and "
            f"{drawn.shape}"
        )
    mean = real.mean(0)
    directions = np.linalg.svd(real - mean, full_matrices=False)[2][:2]
    ax = _new_axes() if ax is None else ax
    for rows, name in ((real, "reference"), (drawn, "generated")):
        x, y = directions @ (rows - mean).T
        ax.scatter(x, y, s=6, alpha=0.5, label=name)
    ax.set(xlabel="first direction of the reference", ylabel="second direction")
    ax.legend()
    return ax


def _rows(features: Float[np.ndarray, "..."] | Features) -> Float[np.ndarray, "n d"]:
    rows = features.rows if isinstance(features, Features) else features
    step = -(-len(rows) // _MOST_POINTS) or 1
    return np.asarray(rows[::step], np.float64)


def _new_axes() -> "Axes":
    from matplotlib import pyplot  # here: it chooses a screen when it is imported

    return pyplot.subplots()[1]
