"""Results of models that have several sets: values over replicates, and a place among other models."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from jaxfid.result.rounding import format_bounds, format_value

Seeds = Literal["training seeds", "noise seeds"]
"""What differs between replicates. Noise seeds draw again from one network: no word on training."""

LEVEL = 0.95
"""Of the interval of a model's mean."""


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

    def describe(self) -> str:
        """Returns mean, spread, interval and share of sampling, without the model's name."""
        if self.spread is None or self.interval is None:
            return format_value(self.mean, self.sampling)
        bounds = format_bounds(*self.interval, self.stderr)
        parts = [f"spread {self.spread:.2g}", f"{LEVEL:.0%} interval {bounds}"]
        if self.sampling_share is not None:
            parts.append(f"sampling explains {self.sampling_share:.0%}")
        return f"{format_value(self.mean, self.stderr)} ({', '.join(parts)})"


@dataclasses.dataclass(frozen=True)
class Ranked:
    """A model's place among others.

    Attributes:
      rank: 1 and one more for each model that is better by more than chance. Models that are not
        told apart may share a rank.
      model: The model.
      not_told_apart: The models that it may equal, as far as is known, the best first.
    """

    rank: int
    model: Replicates
    not_told_apart: tuple[str, ...]

    def __str__(self) -> str:
        same = ", ".join(self.not_told_apart)
        return f"{self.rank}. {self.model}" + (f" (not told apart from {same})" if same else "")


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """What several sets of one model tell of it.

    Attributes:
      name: The model.
      sets: Its sets, as the user named them.
      metrics: By name; a metric that no set has a finite value of is left out.
    """

    name: str
    sets: tuple[str, ...]
    metrics: Mapping[str, Replicates]

    def __str__(self) -> str:
        if not self.metrics:
            return f"{self.name}: none ({len(self.sets)} sets)"
        # A set without a value of one metric does not make the others fewer.
        most = max(self.metrics.values(), key=lambda metric: metric.count)
        kind = most.seeds if most.count > 1 else most.seeds.removesuffix("s")
        found = [f"{name} {self._describe(of, most.count)}" for name, of in self.metrics.items()]
        return f"{self.name} over {most.count} {kind}: {', '.join(found)}"

    def _describe(self, metric: Replicates, most: int) -> str:
        fewer = f" from {metric.count} of them" if metric.count < most else ""
        return metric.describe() + fewer


def to_model_result(fields: Mapping[str, Any]) -> ModelResult:
    """Returns the model whose fields came from JSON."""
    metrics = {name: _to_replicates(of) for name, of in fields["metrics"].items()}
    return ModelResult(fields["name"], tuple(fields["sets"]), metrics)


def to_ranked(fields: Mapping[str, Any]) -> Ranked:
    """Returns the place whose fields came from JSON."""
    model = _to_replicates(fields["model"])
    return Ranked(fields["rank"], model, tuple(fields["not_told_apart"]))


def _to_replicates(fields: Mapping[str, Any]) -> Replicates:
    # JSON leaves out what is not known.
    names = {field.name: fields.get(field.name) for field in dataclasses.fields(Replicates)}
    interval = names["interval"]
    names["interval"] = None if interval is None else tuple(interval)
    return Replicates(**{**names, "values": tuple(fields["values"])})
