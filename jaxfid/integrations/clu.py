"""An evaluator as a metric of CLU (`clu.metrics`), alone or in a `Collection`."""

from typing import Any

import flax.struct
from clu import metrics

from jaxfid.evaluator import Evaluator
from jaxfid.extraction.evaluator_state import EvaluatorState
from jaxfid.integrations.chosen_metric import compute_one


def make_metric(
    evaluator: Evaluator,
    *,
    images: str = "images",
    mask: str = "mask",
    metric: str | None = None,
) -> type[metrics.Metric]:
    """Returns a class of metrics that scores images against the evaluator's reference.

    Args:
      evaluator: Any. Its weights become a part of the compiled function that calls `from_model_output`.
      images: Name of the model's output that holds the images.
      mask: Name of the one that says where there is an image, which may be left out.
      metric: Which of the evaluator's metrics `compute` gives; None for its only one.
    """

    @flax.struct.dataclass
    class EvaluatorMetric(metrics.Metric):
        """The images so far."""

        state: EvaluatorState

        @classmethod
        def empty(cls) -> "EvaluatorMetric":
            """Returns the metric of no images."""
            return cls(evaluator.init())

        @classmethod
        def from_model_output(cls, **outputs: Any) -> "EvaluatorMetric":  # noqa: ANN401
            """Returns the metric of the images of one step."""
            return cls(evaluator.update(evaluator.init(), outputs[images], outputs.get(mask)))

        def merge(self, other: "EvaluatorMetric") -> "EvaluatorMetric":
            """Returns the metric of the images of both."""
            return type(self)(self.state + other.state)

        def compute(self) -> float:
            """Returns the value."""
            return compute_one(evaluator, self.state, metric)

    return EvaluatorMetric
