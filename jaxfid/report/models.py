"""Models of a comparison: the rows of one step and settings over several runs, or over several noises."""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence

from jaxfid.metrics.comparison import Candidate, as_candidate, compare_to_best
from jaxfid.metrics.replicates import summarise_replicates
from jaxfid.report.entries import Entry
from jaxfid.report.swept import Swept, name_row
from jaxfid.result import Comparison
from jaxfid.result.models import ModelResult, Replicates, Seeds


@dataclasses.dataclass(frozen=True)
class Model:
    """The entries of one step and settings, which differ by their training runs, their noise or both.

    Attributes:
      name: The step, or the checkpoint's name where steps do not tell which belong together, and the
        settings of a sweep.
      step: The step; None where there is none.
      entries: Those that have scores.
    """

    name: str
    step: int | None
    entries: tuple[Entry, ...]

    @property
    def swept(self) -> Swept:
        """The settings of its entries, which are the same."""
        return self.entries[0].swept

    @property
    def own_name(self) -> str:
        """Its name without the settings."""
        return self.name.removesuffix(name_row("", self.swept, None))

    def summarise(self, metric: str) -> Replicates | None:
        """Returns a metric over the replicates; None where no entry has a finite value of it.

        Where there are several runs, each counts once, by the mean over its noises: draws of one network
        are no further trainings.
        """
        by_run: dict[str | None, list[Replicates]] = collections.defaultdict(list)
        for entry in self.entries:
            found = None if entry.scores is None else as_candidate(metric, entry.scores)
            if found is not None:
                by_run[entry.run].append(found.summary)
        if not by_run:
            return None
        draws = [*by_run.values()]
        if len(draws) == 1:
            return _join(self.name, draws[0], "noise seeds")
        runs = [_average(_join(self.name, of_run, "noise seeds")) for of_run in draws]
        return _join(self.name, runs, "training seeds")

    def as_candidate(self, metric: str) -> Candidate | None:
        """Returns the model as it is compared in a metric."""
        summary = self.summarise(metric)
        if summary is None:
            return None
        single = len(self.entries) == 1
        return Candidate(summary, self.entries[0].scores if single else None)


def _join(name: str, parts: Sequence[Replicates], seeds: Seeds) -> Replicates:
    means, errors = [part.mean for part in parts], [part.sampling for part in parts]
    return summarise_replicates(name, means, errors, seeds=seeds)


def _average(draws: Replicates) -> Replicates:
    """Returns a run as one value; the sampling of its mean is that of all its draws together."""
    error = None if draws.sampling is None else draws.sampling / math.sqrt(draws.count)
    return summarise_replicates(draws.name, [draws.mean], [error])


def find_models(entries: Sequence[Entry]) -> list[Model]:
    """Returns the models in the order of the entries; none where no checkpoint has replicates.

    Entries of one step and settings belong together. A run that has several at a step, such as `ema_100`
    beside `model_100`, makes names tell them apart.
    """
    scored = [entry for entry in entries if entry.scores is not None]
    crowded = _crowded_steps(scored)
    groups: dict[tuple[str, int | None], list[Entry]] = collections.defaultdict(list)
    for entry in scored:
        groups[_name_model(entry, crowded), entry.step].append(entry)
    if all(len(group) == 1 for group in groups.values()):
        return []
    return [Model(name, step, tuple(group)) for (name, step), group in groups.items()]


def _crowded_steps(entries: Sequence[Entry]) -> set[int | None]:
    """Steps at which one run, by one noise and with the same settings, has several checkpoints."""
    places = collections.Counter(
        (e.step, e.run, name_row("", e.swept, e.noise_seed)) for e in entries
    )
    return {step for (step, _, _), count in places.items() if count > 1}


def _name_model(entry: Entry, crowded: set[int | None]) -> str:
    if entry.run is None and entry.noise_seed is None:
        return entry.name  # which has no replicates
    return name_row(_name_without_settings(entry, crowded), entry.swept, None)


def _name_without_settings(entry: Entry, crowded: set[int | None]) -> str:
    if entry.step is None:
        # Two runs' `best` are of steps that nobody knows: only its own draws belong to it.
        return entry.own_name if entry.run is None else f"{entry.run}/{entry.own_name}"
    return entry.own_name if entry.step in crowded else f"step {entry.step}"


def compare_models(
    models: Sequence[Model], names: Sequence[str]
) -> Mapping[tuple[str, str], Comparison]:
    """Returns, by metric and model, how each model compares with the best one.

    Args:
      models: From `find_models`.
      names: The metrics.
    """
    return {
        (found.metric, found.other): found
        for name in names
        for found in compare_to_best(
            name, [c for model in models for c in [model.as_candidate(name)] if c is not None]
        )
    }


def to_results(models: Sequence[Model], names: Sequence[str]) -> list[ModelResult]:
    """Returns the models as a result holds them.

    Args:
      models: From `find_models`.
      names: The metrics.
    """
    found = []
    for model in models:
        known = {name: model.summarise(name) for name in names}
        metrics = {name: summary for name, summary in known.items() if summary is not None}
        found.append(ModelResult(model.name, tuple(e.name for e in model.entries), metrics))
    return found
