"""Results: value, uncertainty and provenance of every number, as JSON both ways."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.errors import InputError
from jaxfid.rounding import format_value


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number and what is known of its spread.

    Attributes:
      value: The number.
      stderr: Standard error over the sampling of the generated images, where it was estimated.
      std: The spread that the metric's own definition reports (over splits or subsets), where it has one.
      rests: Values without each block of images in turn; two sets scored against one reference are
        compared by these.
      checked: The same value by SciPy's matrix square root, where that was asked for.
      details: What else the metric's definition tells.
    """

    value: float
    stderr: float | None = None
    std: float | None = None
    rests: Sequence[float] | None = None
    checked: float | None = None
    details: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        text = format_value(self.value, self.stderr)
        if self.stderr is None and self.std is not None:
            text += f" (std {self.std:.2g})"
        return text if self.checked is None else f"{text} (SciPy {self.checked:.10g})"


@dataclasses.dataclass(frozen=True)
class SetResult:
    """The scores of one set of generated images.

    Attributes:
      generated: The set, as the user named it.
      num_images: Images that were scored; None for statistics that do not say.
      metrics: By name, in the order asked for.
      skipped: Files left out and why.
      warnings: What a reader of these numbers has to know.
      classes: The scores of each class by itself, where they were asked for.
      class_means: Each metric's mean over the classes, every class counting once.
    """

    generated: str
    num_images: int | None
    metrics: Mapping[str, Metric]
    skipped: Sequence[Mapping[str, str]] = ()
    warnings: Sequence[str] = ()
    classes: "Mapping[str, SetResult] | None" = None
    class_means: Mapping[str, float] | None = None

    def __str__(self) -> str:
        scores = ", ".join(f"{name} {metric}" for name, metric in self.metrics.items())
        images = "statistics" if self.num_images is None else f"{self.num_images} images"
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{self.generated}: {scores} ({images}{skipped})"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one generated set compares with the best one, in a metric of which less is better.

    Attributes:
      metric: Which metric.
      best: The set of the lowest value.
      other: The other set.
      difference: The other's value less the best's.
      stderr: Its standard error over the sampling of the generated images.
      conclusive: Whether it is more than two standard errors.
    """

    metric: str
    best: str
    other: str
    difference: float
    stderr: float
    conclusive: bool

    def __str__(self) -> str:
        gap = f"{self.difference:.3g} +- {self.stderr:.2g} lower in {self.metric} than {self.other}"
        verdict = "more than chance" if self.conclusive else "not more than chance may do"
        return f"{self.best} is {gap}: {verdict}"


@dataclasses.dataclass(frozen=True)
class Result:
    """Scores of one or more sets against one reference, with all that they depend on.

    Attributes:
      reference: `name`, `num_images`, `skipped` and, of a statistics file, its `provenance`.
      protocol: `name`, `dims`, `precision`.
      weights: `name`, `sha256`, `official`.
      environment: Versions and devices.
      results: One per generated set.
      comparisons: Differences between the generated sets, and whether they are more than chance.
    """

    reference: Mapping[str, Any]
    protocol: Mapping[str, Any]
    weights: Mapping[str, Any]
    environment: Mapping[str, Any]
    results: Sequence[SetResult]
    comparisons: Sequence["Comparison"] = ()

    def to_json(self) -> str:
        """Returns the result as JSON text; what is not known is left out."""
        return json.dumps(_without_none(dataclasses.asdict(self)), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Returns the result that `to_json` wrote.

        Raises:
          InputError: The text is not such a result.
        """
        try:
            fields = json.loads(text)
            fields["results"] = tuple(to_set_result(r) for r in fields["results"])
            fields["comparisons"] = tuple(Comparison(**c) for c in fields["comparisons"])
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"result: expected JSON that jaxfid wrote, found: {error}") from error


def to_set_result(fields: Mapping[str, Any]) -> SetResult:
    """Returns the scores whose fields came from JSON."""
    read: dict[str, Any] = {"num_images": None, **fields}
    read["metrics"] = {name: Metric(**metric) for name, metric in fields["metrics"].items()}
    if read.get("classes") is not None:
        read["classes"] = {name: to_set_result(of) for name, of in read["classes"].items()}
    return SetResult(**read)


def _without_none(tree: Any) -> Any:  # noqa: ANN401
    if isinstance(tree, Mapping):
        return {k: _without_none(v) for k, v in tree.items() if v is not None}
    if isinstance(tree, list | tuple):
        return [_without_none(v) for v in tree]
    return tree
