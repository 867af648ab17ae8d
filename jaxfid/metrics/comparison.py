"""Whether the gap between two generated sets is more than the chance of their sampling."""

from collections.abc import Sequence

from jaxfid.metrics.frechet.influence import (
    Difference,
    paired_difference,
    unpaired_difference,
)
from jaxfid.metrics.registry import greater_is_better
from jaxfid.result import Comparison, MetricValue, SetResult


def compare_sets(results: Sequence[SetResult]) -> list[Comparison]:
    """Returns, for each metric whose influences are known, every other set's distance from the best one."""
    names = dict.fromkeys(name for result in results for name in result.metrics)
    comparisons = []
    for name in names:
        known = [r for r in results if name in r.metrics and _is_known(r.metrics[name])]
        sign = -1 if greater_is_better(name) else 1
        known.sort(key=lambda result: sign * (result.metrics[name].value or 0.0))
        comparisons += [_compare(name, known[0], other) for other in known[1:]]
    return comparisons


def _is_known(metric: MetricValue) -> bool:
    return None not in (metric.value, metric.stderr) and metric.influence is not None


def _compare(name: str, best: SetResult, other: SetResult) -> Comparison:
    gap = _difference(best, other, name)
    return Comparison(name, best.generated, other.generated, gap.value, gap.stderr, gap.conclusive)


def _difference(best: SetResult, other: SetResult, name: str) -> Difference:
    """Returns the difference as one of pairs where both sets kept the images of the same indices."""
    a, b = best.metrics[name], other.metrics[name]
    if best.num_images == other.num_images and len(a.influence) == len(b.influence):
        return paired_difference(a.value, a.influence, b.value, b.influence, best.num_images)
    return unpaired_difference(a.value, a.stderr, b.value, b.stderr)
