"""Whether the gap between two generated sets is more than the chance of their sampling."""

from collections.abc import Sequence

from jaxfid.metrics.frechet.jackknife import paired_difference
from jaxfid.result import Comparison, SetResult


def compare_sets(results: Sequence[SetResult]) -> list[Comparison]:
    """Returns, for each metric with error bars, every other set's distance from the best one."""
    names = dict.fromkeys(name for result in results for name in result.metrics)
    comparisons = []
    for name in names:  # only Frechet distances have rests, and of those less is better
        known = [r for r in results if name in r.metrics and r.metrics[name].rests is not None]
        known.sort(key=lambda result: result.metrics[name].value)
        comparisons += [_compare(name, known[0], other) for other in known[1:]]
    return comparisons


def _compare(name: str, best: SetResult, other: SetResult) -> Comparison:
    a, b = best.metrics[name], other.metrics[name]
    gap = paired_difference(a.value, a.rests, b.value, b.rests)
    return Comparison(name, best.generated, other.generated, gap.value, gap.stderr, gap.conclusive)
