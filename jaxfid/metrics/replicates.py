"""Replicates: several image sets of one model, and what they tell of the model's value."""

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

from jaxfid.errors import InputError
from jaxfid.result.models import LEVEL, Replicates, Seeds


def summarise_replicates(
    name: str,
    values: Sequence[float],
    stderrs: Sequence[float | None] = (),
    *,
    seeds: Seeds = "training seeds",
) -> Replicates:
    """Returns mean, spread and interval of a model's value over its replicates.

    Args:
      name: The model.
      values: One per replicate.
      stderrs: The standard error of each value over the sampling of its images; empty where none
        is known.
      seeds: What differs between the replicates.

    Raises:
      InputError: There is no value, one is not finite, or there are other than one error per value.
    """
    values = tuple(float(value) for value in values)
    if not values or not all(math.isfinite(value) for value in values):
        raise InputError(f"{name}: expected one finite value or more, found {list(values)}")
    if stderrs and len(stderrs) != len(values):
        raise InputError(f"{name}: expected {len(values)} standard errors, found {len(stderrs)}")
    sampling = _root_mean_square(stderrs)
    if len(values) == 1:
        return Replicates(name, values, values[0], None, None, None, sampling, None, seeds)
    try:
        mean, spread = statistics.fmean(values), statistics.stdev(values)
    except OverflowError as error:  # a damaged file may hold such
        raise InputError(f"{name}: expected smaller values, found {list(values)}") from error
    stderr = spread / math.sqrt(len(values))
    # Student's t, not 1.96: three replicates know their own spread to a third only.
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * stderr
    share = _share(sampling, spread)
    interval = (mean - half, mean + half)
    return Replicates(name, values, mean, spread, stderr, interval, sampling, share, seeds)


def _root_mean_square(stderrs: Sequence[float | None]) -> float | None:
    # One unknown error makes the mean of all unknown: it may be the largest.
    known = [error for error in stderrs if error is not None and math.isfinite(error)]
    if not known or len(known) < len(stderrs):
        return None
    return math.hypot(*known) / math.sqrt(len(known))


def _share(sampling: float | None, spread: float) -> float | None:
    """Returns the part of the variance; a few replicates may spread less than their sampling does."""
    if sampling is None:
        return None
    return 1.0 if spread <= sampling else (sampling / spread) ** 2
