"""Whether the gap between sets or models is more than chance, and which chances that accounts for."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

from jaxfid.metrics.frechet.influence import paired_difference
from jaxfid.metrics.model_difference import ModelDifference, compare_models
from jaxfid.metrics.ranking import compare_all, correct_for_number, rank_models
from jaxfid.metrics.registry import greater_is_better
from jaxfid.metrics.replicates import summarise_replicates
from jaxfid.result import Comparison, MetricValue, SetResult
from jaxfid.result.models import Ranked, Replicates


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model as it is compared in one metric.

    Attributes:
      summary: Its value over its replicates.
      result: Of a model of one set: that set's scores, by which it is compared in pairs.
    """

    summary: Replicates
    result: SetResult | None = None

    def metric_with_influence(self, name: str) -> MetricValue | None:
        """Returns the metric of a single set, where its influences are known."""
        metric = None if self.result is None else self.result.metrics.get(name)
        return None if metric is None or metric.influence is None else metric


def compare_sets(results: Sequence[SetResult]) -> list[Comparison]:
    """Returns every other set's distance from the best one, for each metric whose influences are known.

    Each set is a model of one replicate. The p-values of a metric are corrected for their number.
    """
    names = dict.fromkeys(name for result in results for name in result.metrics)
    return [
        found for name in names for found in compare_to_best(name, as_candidates(name, results))
    ]


def as_candidates(name: str, results: Sequence[SetResult]) -> list[Candidate]:
    """Returns the sets as models of one replicate each, those that have a finite value of the metric."""
    return [c for result in results if (c := as_candidate(name, result)) is not None]


def as_candidate(name: str, result: SetResult) -> Candidate | None:
    """Returns a set as a model of one replicate; None where it has no finite value of the metric."""
    metric = result.metrics.get(name)
    if metric is None or metric.value is None or not math.isfinite(metric.value):
        return None
    return Candidate(
        summarise_replicates(result.generated, [metric.value], [metric.stderr]), result
    )


def compare_to_best(name: str, candidates: Sequence[Candidate]) -> list[Comparison]:
    """Returns every other model's distance from the best one, corrected for the number of the others.

    Args:
      name: The metric.
      candidates: The models.
    """
    ordered = _order(name, _comparable(name, candidates))
    if len(ordered) < 2:
        return []
    best, *others = ordered
    gaps = correct_for_number([_compare(name, best, other) for other in others])
    pairs = zip(others, gaps, strict=True)
    return [_to_comparison(best, other, gap) for other, gap in pairs if gap.stderr is not None]


def rank_all(
    name: str, candidates: Sequence[Candidate]
) -> tuple[list[Comparison], tuple[Ranked, ...]]:
    """Returns every other model's distance from the best one, and the ranking of three or more.

    Both hold the same p-values, which are corrected for the number of all pairs.

    Args:
      name: The metric.
      candidates: The models, of different names.
    """
    ordered = _order(name, _comparable(name, candidates))
    if len(ordered) < 2:
        return [], ()
    gaps = compare_all(
        [candidate.summary for candidate in ordered],
        metric=name,
        greater_is_better=greater_is_better(name),
        paired_stderrs=_pair_all(name, ordered),
    )
    best, *others = ordered
    # The first pairs are those of the best.
    pairs = zip(others, gaps[: len(others)], strict=True)
    found = [_to_comparison(best, other, gap) for other, gap in pairs if gap.stderr is not None]
    if len(ordered) < 3:
        return found, ()
    summaries = [candidate.summary for candidate in ordered]
    return found, tuple(rank_models(summaries, gaps, greater_is_better=greater_is_better(name)))


def _comparable(name: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Leaves out single sets without influences, unless the spread of another stands for theirs.

    They would be compared as if independent, and what is drawn from the same noise is not.
    """
    if any(candidate.summary.count > 1 for candidate in candidates):
        return list(candidates)
    return [
        c
        for c in candidates
        if (metric := c.metric_with_influence(name)) and metric.stderr is not None
    ]


def _order(name: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: c.summary.mean, reverse=greater_is_better(name))


def _compare(name: str, best: Candidate, other: Candidate) -> ModelDifference:
    return compare_models(
        best.summary,
        other.summary,
        metric=name,
        greater_is_better=greater_is_better(name),
        paired_stderr=_paired_stderr(name, best, other),
    )


def _pair_all(name: str, candidates: Sequence[Candidate]) -> dict[tuple[str, str], float]:
    return {
        (a.summary.name, b.summary.name): stderr
        for a, b in itertools.combinations(candidates, 2)
        if (stderr := _paired_stderr(name, a, b)) is not None
    }


def _paired_stderr(name: str, a: Candidate, b: Candidate) -> float | None:
    """Returns the error of the difference as one of pairs, where both kept the images of the same indices."""
    x, y = (candidate.metric_with_influence(name) for candidate in (a, b))
    if x is None or y is None or a.result is None or b.result is None:
        return None
    num_images = a.result.num_images
    if num_images is None or num_images != b.result.num_images:
        return None
    if x.influence is None or y.influence is None or len(x.influence) != len(y.influence):
        return None
    # The values shift the difference, and not its error.
    gap = paired_difference(
        0.0,
        x.influence,
        0.0,
        y.influence,
        num_images,
        curvature_a=x.curvature,
        curvature_b=y.curvature,
    )
    return gap.stderr


def _to_comparison(best: Candidate, other: Candidate, gap: ModelDifference) -> Comparison:
    return Comparison(
        metric=gap.metric,
        best=best.summary.name,
        other=other.summary.name,
        difference=other.summary.mean - best.summary.mean,
        stderr=gap.stderr or 0.0,
        conclusive=gap.conclusive,
        p_value=gap.p_value,
        sentence=str(gap),
    )
