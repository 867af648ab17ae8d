"""Each checkpoint drawn with every combination of some settings, and from several noises."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.checkpoints.find import Checkpoint
from jaxfid.errors import InputError
from jaxfid.report.swept import Setting, Swept, name_row, show_setting

Sweep = Mapping[str, Sequence[Any]]
"""The values of each setting, by its name as the sampler takes it, before they are checked."""

Axes = Mapping[str, tuple[Setting, ...]]
"""The same, checked."""

_COLUMNS = frozenset({"checkpoint", "step", "run", "noise_seed", "num_images", "failure"})
"""Columns of the tables that every comparison may have."""


def check_sweep(sweep: Sweep) -> Axes:
    """Returns the values of each setting.

    Raises:
      InputError: A name is none of Python's or that of another column, a value is no number, text, truth
        value or None, or there is none or one is given twice.
    """
    for name, values in sweep.items():
        if not name.isidentifier() or name in _COLUMNS:
            raise InputError(
                f"sweep: expected the name of an argument that is none of {', '.join(sorted(_COLUMNS))}, "
                f"found {name!r}"
            )
        if isinstance(values, str) or not values:
            raise InputError(f"sweep: {name}: expected a list of values, found {values!r}")
        if wrong := [value for value in values if not _is_setting(value)]:
            raise InputError(
                f"sweep: {name}: expected numbers, text, true, false or null, found {wrong[0]!r}"
            )
        shown = [show_setting(value) for value in values]
        if len(set(shown)) < len(shown):
            raise InputError(f"sweep: {name}: expected each value once, found {', '.join(shown)}")
    return {name: tuple(values) for name, values in sweep.items()}


def check_noise_seeds(noise_seeds: Sequence[int]) -> tuple[int, ...]:
    """Returns the seeds.

    Raises:
      InputError: There is none, one is below 0 or one is given twice.
    """
    seeds = tuple(noise_seeds)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(
            f"noise_seeds: expected different whole numbers from 0 on, found {list(seeds)}"
        )
    return seeds


def combine(axes: Axes, slowest: Sequence[str]) -> list[Swept]:
    """Returns every combination of the values.

    Args:
      axes: From `check_sweep`; the names of a combination are in its order.
      slowest: Those that vary last: for each of their values the checkpoint is loaded again.
    """
    order = sorted(axes, key=lambda name: name not in slowest)
    grid = itertools.product(*(axes[name] for name in order))
    combinations = [dict(zip(order, values, strict=True)) for values in grid]
    return [{name: values[name] for name in axes} for values in combinations]


def repeat(
    found: Sequence[Checkpoint], combinations: Sequence[Swept], noise_seeds: Sequence[int | None]
) -> list[Checkpoint]:
    """Returns each checkpoint once for each combination and seed, under a name of its own.

    So a row is finished, kept and resumed by itself, and more values and seeds may be added later. All rows
    of a checkpoint follow each other.
    """
    return [
        dataclasses.replace(c, name=name_row(c.name, swept, seed), swept=swept, noise_seed=seed)
        for c in found
        for swept in combinations
        for seed in noise_seeds
    ]


def _is_setting(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)
