"""Replicates: several image sets of one model, and what they tell of the model's value."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Literal

from scipy.special import stdtrit

from jaxfid.errors import InputError
from jaxfid.rounding import format_value

Seeds = Literal["training seeds", "noise seeds"]
"""What differs between replicates. Noise seeds draw again from one network: no word on training."""

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Replicates:
    """The value of a model over its replicates.

    Attributes:
      name: The model.
      values: One per replicate, in the order given.
      mean: Their mean.
      spread: Their standard deviation with ddof 1; None for a single one.
      stderr: Standard error of the mean, from the spread; None for a single one.
      interval: Where the model's mean lies by Student's t, at `LEVEL`; None for a single one.
      sampling: The standard error of one replicate over the sampling of its images, root mean
        square; None where a replicate's is not known.
      sampling_share: How much of the squared spread `sampling` explains, 0 to 1; None where either
        is not known.
      seeds: What differs between the replicates.
    """

    name: str
    values: tuple[float, ...]
    mean: float
    spread: float | None
    stderr: float | None
    interval: tuple[float, float] | None
    sampling: float | None
    sampling_share: float | None
    seeds: Seeds

    @property
    def count(self) -> int:
        """How many replicates there are."""
        return len(self.values)

    def __str__(self) -> str:
        if self.spread is None:
            return f"{self.name}: {format_value(self.mean, self.sampling)} (one replicate)"
        text = f"{self.name}: {format_value(self.mean, self.stderr)} over {self.count} {self.seeds}"
        if self.sampling_share is None:
            return text
        return f"{text}, sampling explains {self.sampling_share:.0%} of their variance"


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
    mean, sampling = statistics.fmean(values), _root_mean_square(stderrs)
    if len(values) == 1:
        return Replicates(name, values, mean, None, None, None, sampling, None, seeds)
    spread = statistics.stdev(values)
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
    return math.sqrt(statistics.fmean(error**2 for error in known))


def _share(sampling: float | None, spread: float) -> float | None:
    """Returns the part of the variance; a few replicates may spread less than their sampling does."""
    if sampling is None:
        return None
    return 1.0 if spread <= sampling else (sampling / spread) ** 2
