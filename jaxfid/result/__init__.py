"""Results: value, uncertainty and provenance of every number, as JSON both ways."""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from jaxfid.errors import InputError
from jaxfid.notebook import make_list, make_table
from jaxfid.result.models import ModelResult, Ranked, to_model_result, to_ranked
from jaxfid.result.rounding import format_value

_ARRAYS = ("influence", "curvature")

_DROPPED = frozenset({"rests"})
"""Fields of the first edition's metrics that are read over."""


@dataclasses.dataclass(frozen=True)
class MetricValue:
    """One number and what is known of its spread. `jaxfid.Metric` is another name of this class.

    Attributes:
      value: The number; None where it could not be computed.
      stderr: Standard error over the sampling of the generated images, where it was estimated.
      std: The spread that the metric's own definition reports (over splits or subsets), where it has one.
      stderr_reference: Standard error over the sampling of the reference, where its features are known.
      reason: Why there is no value, or no standard error.
      checked: The same value by SciPy's matrix square root, where that was asked for.
      details: What else the metric's definition tells.
      space: Input rule and width of the features that it is of, such as `legacy_tensorflow, 2048`.
      influence: How far each kept image moves the value. Two sets scored against one reference are compared
        by it. It is not printed, and not in the JSON of a result.
      curvature: How far pairs of kept images move it together; likewise.
    """

    value: float | None
    stderr: float | None = None
    std: float | None = None
    stderr_reference: float | None = None
    reason: str | None = None
    checked: float | None = None
    details: Mapping[str, Any] | None = None
    space: str | None = None
    influence: Float[np.ndarray, " n"] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )
    curvature: Float[np.ndarray, " m"] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    def __str__(self) -> str:
        if self.value is None:
            return f"none ({self.reason})" if self.reason else "none"
        # An error of 0 is left out: it would claim a certainty that no sample gives.
        text = format_value(self.value, self.stderr or None)
        if self.stderr is None and self.std is not None:
            text += f" (std {self.std:.2g})"
        return text if self.checked is None else f"{text} (SciPy {self.checked:.10g})"

    def to_fields(self, *, with_influence: bool = False) -> dict[str, Any]:
        """Returns what JSON holds of it; what is not known is left out.

        Args:
          with_influence: Whether the influences come along, as float32 in base64: 40 kB for 5,000 images.
        """
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in _ARRAYS:
            array = fields.pop(name)
            if with_influence and array is not None:
                fields[name] = base64.b64encode(np.float32(array).tobytes()).decode()
        # `value` is kept even if it is None: it says that the metric was asked for.
        return {k: v for k, v in fields.items() if v is not None or k == "value"}


Metric = MetricValue
"""The name that the first edition gave to `MetricValue`."""


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
    metrics: Mapping[str, MetricValue]
    skipped: Sequence[Mapping[str, str]] = ()
    warnings: Sequence[str] = ()
    classes: "Mapping[str, SetResult] | None" = None
    class_means: Mapping[str, float] | None = None

    def __str__(self) -> str:
        scores = [
            f"{name} ({metric.space}) {metric}" if metric.space else f"{name} {metric}"
            for name, metric in self.metrics.items()
        ]
        return f"{self.generated}: {', '.join([*scores, self.describe_count()])}"

    def describe_count(self) -> str:
        """Returns how many images were scored, and how many were left out."""
        images = "statistics" if self.num_images is None else f"{self.num_images} images"
        return f"{images}, {len(self.skipped)} skipped" if self.skipped else images

    def _repr_html_(self) -> str:
        rows = [(name, m.space or "", str(m)) for name, m in self.metrics.items()]
        caption = f"{self.generated}: {self.describe_count()}"
        return make_table(("metric", "features", "value"), rows, caption=caption) + make_list(
            self.warnings
        )

    def to_fields(self, *, with_influence: bool = False) -> dict[str, Any]:
        """Returns what JSON holds of it; see `MetricValue.to_fields`."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["metrics"] = {
            name: metric.to_fields(with_influence=with_influence)
            for name, metric in self.metrics.items()
        }
        if self.classes is not None:
            fields["classes"] = {name: of.to_fields() for name, of in self.classes.items()}
        return {k: v for k, v in fields.items() if v is not None}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one generated set, or model, compares with the best one in a metric.

    Attributes:
      metric: Which metric.
      best: The set or the model of the best value.
      other: The other one.
      difference: The other's value less the best's.
      stderr: Its standard error, from the replicates where a model has several, else over the sampling of
        the generated images.
      conclusive: Whether it is more than chance, by all that is accounted for.
      p_value: How often equal ones would differ as much, corrected for the number of comparisons.
      sentence: The comparison in words, with what it accounts for.
    """

    metric: str
    best: str
    other: str
    difference: float
    stderr: float
    conclusive: bool
    p_value: float | None = None
    sentence: str | None = None

    def __str__(self) -> str:
        if self.sentence is not None:
            return self.sentence
        word = "lower" if self.difference >= 0 else "higher"
        gap = f"{abs(self.difference):.3g} +- {self.stderr:.2g} {word} in {self.metric}"
        verdict = "more than chance" if self.conclusive else "not more than chance may do"
        return f"{self.best} is {gap} than {self.other}: {verdict}"

    def _repr_html_(self) -> str:
        return make_list([str(self)])


@dataclasses.dataclass(frozen=True)
class Result:
    """Scores of one or more sets against one reference, with all that they depend on.

    Attributes:
      reference: `name`, `num_images`, `skipped` and, of a statistics file, its `provenance`.
      protocol: `name`, `dims`, `precision` of the first extractor.
      weights: `name`, `sha256`, `official` of the first extractor.
      environment: Versions and devices.
      results: One per generated set.
      comparisons: Differences between the generated sets, and whether they are more than chance.
      extractors: All that the features of each extractor depend on.
      replicates: The models with their replicates, where sets were grouped to models.
      rankings: By metric, where three or more are compared: all of them, the best first.
    """

    reference: Mapping[str, Any]
    protocol: Mapping[str, Any]
    weights: Mapping[str, Any]
    environment: Mapping[str, Any]
    results: Sequence[SetResult]
    comparisons: Sequence["Comparison"] = ()
    extractors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    replicates: Sequence[ModelResult] = ()
    rankings: Mapping[str, Sequence[Ranked]] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        sets = "".join(f"\n  {scored}" for scored in self.results)
        return f"Result(against {self.reference.get('name')}, weights {self.weights.get('name')}){sets}"

    def _repr_html_(self) -> str:
        """One table of all sets, and below it what a reader has to know."""
        names = list(dict.fromkeys(name for scored in self.results for name in scored.metrics))
        rows = [
            (s.generated, s.describe_count(), *(str(s.metrics.get(n, "")) for n in names))
            for s in self.results
        ]
        caption = f"against {self.reference.get('name')}, weights {self.weights.get('name')}"
        said = dict.fromkeys(w for scored in self.results for w in scored.warnings)
        return make_table(("set", "images", *names), rows, caption=caption) + make_list(
            [*map(str, self.replicates), *map(str, self.comparisons), *said]
        )

    def to_pandas(self) -> Any:  # noqa: ANN401
        """Returns a data frame of pandas: a row for each set and metric.

        Raises:
          InputError: pandas is not installed.
        """
        try:
            import pandas  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise InputError("to_pandas: needs the package pandas; pip install pandas") from error
        kept = ("value", "stderr", "std", "stderr_reference", "space", "reason")
        return pandas.DataFrame(
            [
                {"generated": scored.generated, "num_images": scored.num_images, "metric": name}
                | {field: getattr(metric, field) for field in kept}
                for scored in self.results
                for name, metric in scored.metrics.items()
            ]
        )

    def to_json(self) -> str:
        """Returns the result as JSON text; what is not known is left out."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["results"] = [result.to_fields() for result in self.results]
        for name in ("comparisons", "replicates"):
            fields[name] = [dataclasses.asdict(found) for found in fields[name]]
        fields["rankings"] = {
            name: [dataclasses.asdict(ranked) for ranked in ranking]
            for name, ranking in self.rankings.items()
        }
        return json.dumps(_without_none(fields), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Returns the result that `to_json` wrote.

        Raises:
          InputError: The text is not such a result.
        """
        try:
            # Whatever is wrong with it shows here: a result has no schema beside these classes.
            fields = json.loads(text)
            fields["results"] = tuple(to_set_result(r) for r in fields["results"])
            fields["comparisons"] = tuple(Comparison(**c) for c in fields["comparisons"])
            # Earlier versions knew of neither.
            fields["replicates"] = tuple(map(to_model_result, fields.get("replicates", ())))
            fields["rankings"] = {
                name: tuple(map(to_ranked, ranking))
                for name, ranking in fields.get("rankings", {}).items()
            }
            for name in ("reference", "protocol", "weights", "environment"):
                if not isinstance(fields[name], dict):
                    raise TypeError(f"{name}: {type(fields[name]).__name__}")
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"result: expected JSON that jaxfid wrote, found: {error}") from error


def to_set_result(fields: Mapping[str, Any]) -> SetResult:
    """Returns the scores whose fields came from JSON."""
    read: dict[str, Any] = {"num_images": None, **fields}
    read["metrics"] = {name: to_metric_value(metric) for name, metric in fields["metrics"].items()}
    if read.get("classes") is not None:
        read["classes"] = {name: to_set_result(of) for name, of in read["classes"].items()}
    return SetResult(**read)


def to_metric_value(fields: Mapping[str, Any]) -> MetricValue:
    """Returns the metric whose fields came from JSON."""
    read = {name: value for name, value in fields.items() if name not in _DROPPED}
    value = read["value"]
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"the value {value!r}")
    read |= {name: _decode(read[name]).astype(np.float64) for name in _ARRAYS if name in read}
    return MetricValue(**read)


def _decode(text: str) -> Float32[np.ndarray, " n"]:
    return np.frombuffer(base64.b64decode(text), np.float32)


def _without_none(tree: Any) -> Any:  # noqa: ANN401
    """Returns the tree without entries that are None, except for a metric's own value."""
    if isinstance(tree, Mapping):
        return {k: _without_none(v) for k, v in tree.items() if v is not None or k == "value"}
    if isinstance(tree, list | tuple):
        return [_without_none(v) for v in tree]
    return tree
