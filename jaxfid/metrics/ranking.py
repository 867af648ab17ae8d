"""Several models in order, and which of them are not told apart."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxfid.errors import InputError
from jaxfid.metrics.model_difference import ModelDifference, compare_models
from jaxfid.result.models import Ranked, Replicates


def compare_all(
    models: Sequence[Replicates],
    *,
    metric: str = "",
    greater_is_better: bool = False,
    paired_stderrs: Mapping[tuple[str, str], float] | None = None,
) -> list[ModelDifference]:
    """Returns the difference of every two models, their p-values corrected by Holm's method.

    Args:
      models: Of different names.
      metric: The metric's name, for the sentences.
      greater_is_better: Its direction, for the sentences.
      paired_stderrs: By two models' names, in either order, what `compare_models` takes.

    Raises:
      InputError: Two models have one name.
    """
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise InputError(f"models: expected different names, found {names}")
    known = paired_stderrs or {}  # the order of two names means nothing
    both_orders = {frozenset(pair): stderr for pair, stderr in known.items()}
    differences = [
        compare_models(
            a,
            b,
            metric=metric,
            greater_is_better=greater_is_better,
            paired_stderr=both_orders.get(frozenset((a.name, b.name))),
        )
        for a, b in itertools.combinations(models, 2)
    ]
    return correct_for_number(differences)


def correct_for_number(differences: Sequence[ModelDifference]) -> list[ModelDifference]:
    """Returns the differences with their p-values corrected by Holm's method, and their number."""
    known = [difference.p_value for difference in differences if difference.p_value is not None]
    adjusted = iter(adjust_holm(known))
    return [
        difference
        if difference.p_value is None
        else dataclasses.replace(difference, p_value=next(adjusted), num_comparisons=len(known))
        for difference in differences
    ]


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values corrected for their number: the chance of one false finding among all.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values)
    # The smallest counts against all comparisons, the next against all but one, and so on.
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    # A larger p-value is never made smaller than one before it.
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def rank_models(
    models: Sequence[Replicates],
    differences: Sequence[ModelDifference],
    *,
    greater_is_better: bool = False,
) -> list[Ranked]:
    """Returns the models, the best first, each with those that it is not told apart from.

    Args:
      models: As given to `compare_all`.
      differences: What it returned.
      greater_is_better: The metric's direction.
    """
    ordered = sorted(models, key=lambda model: model.mean, reverse=greater_is_better)
    apart = {frozenset((d.lower, d.higher)) for d in differences if d.conclusive}

    def told_apart(a: Replicates, b: Replicates) -> bool:
        return frozenset((a.name, b.name)) in apart

    return [
        Ranked(
            # Two models that chance could swap share a rank, so a rank counts only what is surely better.
            rank=1 + sum(told_apart(model, better) for better in ordered[:place]),
            model=model,
            not_told_apart=tuple(
                other.name
                for other in ordered
                if other is not model and not told_apart(model, other)
            ),
        )
        for place, model in enumerate(ordered)
    ]
