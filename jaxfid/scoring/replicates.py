"""Sets that are one model: which they are, what they tell of it, and how the models compare."""

import collections
import dataclasses
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from jaxfid.errors import InputError
from jaxfid.images.interface import name_some
from jaxfid.metrics.comparison import Candidate, as_candidates, rank_all
from jaxfid.metrics.replicates import summarise_replicates
from jaxfid.result import Result, SetResult
from jaxfid.result.models import ModelResult, Replicates, Seeds

Grouping = Mapping[str, Sequence[str | os.PathLike[str] | int]] | str | re.Pattern[str]
"""Sets by model, each by its name or by its position; or a pattern whose first group names the model."""

Repeated = Literal["training", "sampling"]
"""What was done again for each replicate."""

_SEEDS: Mapping[Repeated, Seeds] = {"training": "training seeds", "sampling": "noise seeds"}

Groups = Mapping[str, Sequence[int]]
"""Positions of the sets of each model."""


def group_sets(names: Sequence[str], grouping: Grouping | None) -> Groups:
    """Returns which sets are which model; sets in no group are left out.

    Args:
      names: The sets, as the user named them.
      grouping: What the user said of them; None groups nothing.

    Raises:
      InputError: A name is no set or two of them, a set is in two groups, a group is empty or is called
        like a set outside of it, or the pattern is none or finds nothing.
    """
    if grouping is None:
        return {}
    if isinstance(grouping, Mapping):
        groups = {model: [_find(s, names) for s in sets] for model, sets in grouping.items()}
    else:
        groups = _group_by_pattern(names, grouping)
    _check(names, groups)
    return groups


def _find(wanted: str | os.PathLike[str] | int, names: Sequence[str]) -> int:
    if isinstance(wanted, int):
        if not 0 <= wanted < len(names):
            raise InputError(f"replicates: expected positions below {len(names)}, found {wanted}")
        return wanted
    # A shell completes the name of a folder with a slash, once and not always.
    text = os.fspath(wanted).rstrip("/")
    found = [position for position, name in enumerate(names) if name.rstrip("/") == text]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"replicates: {text} is {len(found)} of the sets; give their positions")
    raise InputError(
        f"replicates: expected names of the generated sets ({name_some(names)}), found {text}"
    )


def _group_by_pattern(names: Sequence[str], pattern: str | re.Pattern[str]) -> Groups:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"replicates: {pattern!r} is no regular expression: {error}") from error
    if compiled.groups < 1:
        text = compiled.pattern
        raise InputError(f"replicates: expected a group that names the model in {text}, found none")
    groups: dict[str, list[int]] = collections.defaultdict(list)
    for position, name in enumerate(names):
        # Sets whose names do not match are scored like any other, and belong to no model.
        if (match := compiled.search(name)) and match[1]:
            groups[match[1]].append(position)
    if not groups:
        raise InputError(f"replicates: {compiled.pattern} finds no model in {name_some(names)}")
    return dict(groups)


def _check(names: Sequence[str], groups: Groups) -> None:
    if empty := [model for model, positions in groups.items() if not positions]:
        raise InputError(f"replicates: expected sets in each group, found none in {empty[0]}")
    counts = collections.Counter(p for positions in groups.values() for p in positions)
    if repeated := [names[position] for position, count in counts.items() if count > 1]:
        raise InputError(f"replicates: expected each set once, found {name_some(repeated)} again")
    outside = {name for position, name in enumerate(names) if position not in counts}
    if taken := sorted(outside & set(groups)):
        raise InputError(f"replicates: {taken[0]} is a model and a set outside of it; rename one")


def with_models(result: Result, groups: Groups, repeated: Repeated = "training") -> Result:
    """Returns the result with what the groups tell of their models, and how all models compare.

    A set in no group is a model of its own. Three models or more are ranked.

    Args:
      result: The scores of the sets.
      groups: From `group_sets`, of the sets of the result.
      repeated: What the sets of a model have not in common.
    """
    sets, seeds = result.results, _SEEDS[repeated]
    names = list(dict.fromkeys(name for of in sets for name in of.metrics))
    chosen = {model: [sets[p] for p in positions] for model, positions in groups.items()}
    models = [_to_model(model, of, names, seeds) for model, of in chosen.items()]
    grouped = {position for positions in groups.values() for position in positions}
    others = [of for position, of in enumerate(sets) if position not in grouped]
    # One set alone is compared in pairs, also where it is called a model.
    alone = {model: of[0] for model, of in chosen.items() if len(of) == 1}
    others = _tell_apart(others, taken=set(groups))
    ranked = {}
    for name in names:
        found = [Candidate(m.metrics[name], alone.get(m.name)) for m in models if name in m.metrics]
        ranked[name] = rank_all(name, [*found, *as_candidates(name, others)])
    return dataclasses.replace(
        result,
        comparisons=[comparison for found, _ in ranked.values() for comparison in found],
        replicates=models,
        rankings={name: ranking for name, (_, ranking) in ranked.items() if ranking},
    )


def _to_model(
    model: str, sets: Sequence[SetResult], names: Sequence[str], seeds: Seeds
) -> ModelResult:
    found = {name: _summarise(model, as_candidates(name, sets), seeds) for name in names}
    metrics = {name: summary for name, summary in found.items() if summary is not None}
    return ModelResult(model, tuple(of.generated for of in sets), metrics)


def _summarise(model: str, sets: Sequence[Candidate], seeds: Seeds) -> Replicates | None:
    if not sets:
        return None
    summaries = [candidate.summary for candidate in sets]
    values, stderrs = [of.mean for of in summaries], [of.sampling for of in summaries]
    return summarise_replicates(model, values, stderrs, seeds=seeds)


def _tell_apart(sets: Sequence[SetResult], *, taken: set[str]) -> list[SetResult]:
    """Numbers sets of one name, such as one set that was given twice: a ranking needs names."""
    found = []
    for of in sets:
        numbered = (f"{of.generated} ({number})" for number in itertools.count(2))
        name = next(n for n in itertools.chain([of.generated], numbered) if n not in taken)
        taken.add(name)
        found.append(dataclasses.replace(of, generated=name))
    return found
