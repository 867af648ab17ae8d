"""The scores of a checkpoint as scalars, as TensorBoard and Weights & Biases take them."""

from collections.abc import Iterator

from jaxfid.report.entries import Entry
from jaxfid.report.printable import printable
from jaxfid.report.swept import name_settings
from jaxfid.report.tables import known_metric, metric_names


def iter_scalars(entry: Entry) -> Iterator[tuple[str, float]]:
    """Yields `jaxfid/<metric>` and `jaxfid/<metric>_stderr` with their values.

    The tags of replicates end in their run, their settings and their noise seed.
    """
    draw = _name_draw(entry)
    for name in metric_names([entry]):
        metric = known_metric(entry, name)
        if metric is None or metric.value is None:
            continue
        yield f"jaxfid/{printable(name)}{draw}", metric.value
        if metric.stderr is not None:
            yield f"jaxfid/{printable(name)}_stderr{draw}", metric.stderr


def _name_draw(entry: Entry) -> str:
    """A curve has one value at a step, so each run, setting and noise has curves of its own."""
    run = "" if entry.run is None else f"/{printable(entry.run)}"
    settings = f"/{printable(name_settings(entry.swept))}" if entry.swept else ""
    noise = "" if entry.noise_seed is None else f"/noise {entry.noise_seed}"
    return f"{run}{settings}{noise}"
