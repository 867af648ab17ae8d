"""Whether two models differ by more than chance, and which chances that accounts for."""

import dataclasses
import math
from typing import Literal

from scipy.special import ndtr, stdtr

from jaxfid.result.models import Replicates, Seeds
from jaxfid.result.rounding import format_value

SIGNIFICANCE = 0.05

RETRAINING_SHARE = 0.013
"""How far retraining alone moves an FID, as a standard deviation relative to it.

It lies between 1 and 2 % over sizes and budgets of training. It was measured for FIDs; for other
metrics nothing better is known. Source: Dufour, Efros and Perez, The FID Lottery, 2026.
"""

RETRAINING_REMARK = "another training seed may move it three times as far"
"""3.2 times as far as another sample of images does, by the same source."""

INCONCLUSIVE = "inconclusive: within what retraining does (below 1.3 %, The FID Lottery, 2026)"

Basis = Literal["replicates", "sampling", "nothing"]


@dataclasses.dataclass(frozen=True)
class ModelDifference:
    """How far two models are apart in one metric.

    Attributes:
      metric: Which metric; empty where there is no need to say.
      lower: The model of the lower mean.
      higher: The other.
      difference: The higher mean less the lower one, 0 or more.
      stderr: Its standard error from what `basis` says; None where that is nothing.
      p_value: How often equal models would differ as much; None where `stderr` is.
      basis: The spread between replicates, the sampling of the images alone, or nothing.
      counts: How many replicates the lower and the higher model have.
      seeds: What differs between replicates.
      within_retraining: Whether no training was repeated, and the difference is below what a
        repetition does.
      greater_is_better: The metric's direction: the better model is the subject of the sentence.
      num_comparisons: How many comparisons `p_value` was corrected for.
    """

    metric: str
    lower: str
    higher: str
    difference: float
    stderr: float | None
    p_value: float | None
    basis: Basis
    counts: tuple[int, int]
    seeds: Seeds
    within_retraining: bool
    greater_is_better: bool = False
    num_comparisons: int = 1

    @property
    def conclusive(self) -> bool:
        """Whether the difference is more than chance, by all that is accounted for."""
        known = self.p_value is not None and self.p_value <= SIGNIFICANCE
        return known and not self.within_retraining

    def __str__(self) -> str:
        where = f" in {self.metric}" if self.metric else ""
        gap = format_value(self.difference, self.stderr)
        better, word, worse = self.lower, "lower", self.higher
        if self.greater_is_better:
            better, word, worse = worse, "higher", better
        text = f"{better} is {gap} {word}{where} than {worse} {self._basis_text()}"
        if self.within_retraining:
            return f"{text}; {INCONCLUSIVE}"
        corrected = f" ({self.num_comparisons} comparisons)" if self.num_comparisons > 1 else ""
        retrained = self.basis == "replicates" and self.seeds == "training seeds"
        remark = "" if retrained else f"; {RETRAINING_REMARK}"
        return f"{text}: {self._verdict()}{corrected}{remark}"

    def _basis_text(self) -> str:
        if self.basis == "sampling":
            return "by sampling alone"
        if self.basis == "nothing":
            return "with no error known"
        better, worse = reversed(self.counts) if self.greater_is_better else self.counts
        return f"over {better if better == worse else f'{better} and {worse}'} {self.seeds}"

    def _verdict(self) -> str:
        if self.p_value is None:
            return "no verdict"
        return "more than chance" if self.conclusive else "not more than chance may do"


def compare_models(
    a: Replicates,
    b: Replicates,
    *,
    metric: str = "",
    greater_is_better: bool = False,
    paired_stderr: float | None = None,
) -> ModelDifference:
    """Returns how far two models are apart, by their replicates where there are any.

    Two models with replicates are compared by Welch's test. Where one has a single set, the other's
    spread stands for both, unless the sampling of the single set is larger. Without replicates the
    sampling of the images is all that is known.

    Args:
      a: A model.
      b: The other.
      metric: The metric's name, for the sentence.
      greater_is_better: Its direction, for the sentence.
      paired_stderr: Standard error of the difference of two single sets over the sampling of
        images that share their noise; None: the sets' own errors, as independent.
    """
    # In order, so that a comparison does not depend on who is named first.
    lower, higher = sorted((a, b), key=lambda model: model.mean)
    difference = higher.mean - lower.mean
    if max(a.count, b.count) > 1:
        basis: Basis = "replicates"
        stderr, p_value = _test_replicates(lower, higher)
    else:
        stderr = _sampling_stderr(a, b) if paired_stderr is None else paired_stderr
        basis = "nothing" if stderr is None else "sampling"
        p_value = None if stderr is None else _p_value(difference, stderr, math.inf)
    # Training is accounted for only where every spread in the comparison is one of trainings.
    seeds: Seeds = "noise seeds" if "noise seeds" in _seeds_of(a, b) else "training seeds"
    retrained = basis == "replicates" and seeds == "training seeds"
    # Relative to the larger value: in doubt a gap is called small.
    small = difference < RETRAINING_SHARE * max(abs(a.mean), abs(b.mean))
    return ModelDifference(
        metric=metric,
        lower=lower.name,
        higher=higher.name,
        difference=difference,
        stderr=stderr,
        p_value=p_value,
        basis=basis,
        counts=(lower.count, higher.count),
        seeds=seeds,
        within_retraining=small and not retrained,
        greater_is_better=greater_is_better,
    )


def _seeds_of(*models: Replicates) -> set[Seeds]:
    """Returns what differs between the replicates of those that have several."""
    return {model.seeds for model in models if model.count > 1}


def _test_replicates(a: Replicates, b: Replicates) -> tuple[float, float]:
    """Returns the standard error of the difference, and its p-value by Welch's test."""
    spreads = [model.spread for model in (a, b) if model.spread is not None]
    counts = [model.count for model in (a, b) if model.spread is not None]
    if len(spreads) == 1:
        # One set of one model: as far from its own mean as the other model's replicates are, or as
        # the sampling of its own images, where that is more.
        single = max(spreads[0], *(m.sampling or 0.0 for m in (a, b) if m.spread is None))
        stderr, freedom = math.hypot(spreads[0] / math.sqrt(counts[0]), single), counts[0] - 1.0
    else:
        errors = [spread / math.sqrt(n) for spread, n in zip(spreads, counts, strict=True)]
        stderr = math.hypot(*errors)
        # In units of the whole, so that no square of a large number overflows.
        parts = [(error / stderr) ** 2 if stderr else 0.0 for error in errors]
        scaled = sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))
        freedom = 1 / scaled if scaled > 0 else math.inf
    return stderr, _p_value(b.mean - a.mean, stderr, freedom)


def _sampling_stderr(a: Replicates, b: Replicates) -> float | None:
    if a.sampling is None or b.sampling is None:
        return None
    return math.hypot(a.sampling, b.sampling)


def _p_value(difference: float, stderr: float, freedom: float) -> float:
    """Returns the two-sided p-value of Student's t, or of the normal distribution at infinite freedom."""
    if stderr == 0:  # equal replicates: nothing but a difference of 0 is likely
        return 1.0 if difference == 0 else 0.0
    t = -abs(difference) / stderr
    return float(2 * (ndtr(t) if math.isinf(freedom) else stdtr(freedom, t)))
