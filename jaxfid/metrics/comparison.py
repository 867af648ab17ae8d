"""Whether the gap between two generated sets is more than chance, and which chances that accounts for."""

import math
from collections.abc import Sequence

from jaxfid.metrics.frechet.influence import paired_difference
from jaxfid.metrics.model_difference import ModelDifference, compare_models
from jaxfid.metrics.ranking import correct_for_number
from jaxfid.metrics.registry import greater_is_better
from jaxfid.metrics.replicates import Replicates, summarise_replicates
from jaxfid.result import Comparison, SetResult


def compare_sets(results: Sequence[SetResult]) -> list[Comparison]:
    """Returns every other set's distance from the best one, for each metric whose influences are known.

    Each set is a model of one replicate. The p-values of a metric are corrected for their number.
    """
    names = dict.fromkeys(name for result in results for name in result.metrics)
    return [found for name in names for found in _compare_to_best(name, results)]


def _compare_to_best(name: str, results: Sequence[SetResult]) -> list[Comparison]:
    known = [(model, r) for r in results if (model := _as_model(name, r)) is not None]
    known.sort(key=lambda pair: pair[0].mean, reverse=greater_is_better(name))
    if len(known) < 2:
        return []
    (best, best_result), *others = known
    gaps = [
        compare_models(
            best,
            other,
            metric=name,
            greater_is_better=greater_is_better(name),
            paired_stderr=_paired_stderr(name, best_result, result),
        )
        for other, result in others
    ]
    return [
        _to_comparison(best, other, gap)
        for (other, _), gap in zip(others, correct_for_number(gaps), strict=True)
    ]


def _as_model(name: str, result: SetResult) -> Replicates | None:
    metric = result.metrics.get(name)
    if metric is None or metric.influence is None:
        return None
    value, stderr = metric.value, metric.stderr
    if value is None or stderr is None or not math.isfinite(value):
        return None
    return summarise_replicates(result.generated, [value], [stderr])


def _paired_stderr(name: str, a: SetResult, b: SetResult) -> float | None:
    """Returns the error of the difference as one of pairs, where both kept the images of the same indices."""
    x, y = a.metrics[name], b.metrics[name]
    if x.influence is None or y.influence is None or len(x.influence) != len(y.influence):
        return None
    if a.num_images is None or a.num_images != b.num_images:
        return None
    # The values shift the difference, and not its error.
    gap = paired_difference(
        0.0,
        x.influence,
        0.0,
        y.influence,
        a.num_images,
        curvature_a=x.curvature,
        curvature_b=y.curvature,
    )
    return gap.stderr


def _to_comparison(best: Replicates, other: Replicates, gap: ModelDifference) -> Comparison:
    return Comparison(
        metric=gap.metric,
        best=best.name,
        other=other.name,
        difference=other.mean - best.mean,
        stderr=gap.stderr or 0.0,
        conclusive=gap.conclusive,
        p_value=gap.p_value,
        sentence=str(gap),
    )
