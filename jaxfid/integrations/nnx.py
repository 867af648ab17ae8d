"""An evaluator as a metric of Flax NNX, alone or in `nnx.MultiMetric`."""

from typing import Any

from flax import nnx

from jaxfid.evaluator import Evaluator
from jaxfid.integrations.chosen_metric import compute_one


class EvaluatorMetric(nnx.Metric):
    """The images so far, scored against the evaluator's reference.

    `update` may be called inside `nnx.jit`, to which the weights go as an argument.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        *,
        images: str = "images",
        mask: str = "mask",
        metric: str | None = None,
    ) -> None:
        """Starts without images.

        Args:
          evaluator: Any.
          images: Name of the argument of `update` that holds the images.
          mask: Name of the one that says where there is an image, which may be left out.
          metric: Which of the evaluator's metrics `compute` gives; None for its only one.
        """
        self.images, self.mask, self.metric = images, mask, metric
        self.evaluator = nnx.Variable(evaluator)
        self.state = nnx.metrics.MetricState(evaluator.init())

    def reset(self) -> None:
        """Forgets all images."""
        self.state.set_value(self.evaluator.get_value().init())

    def update(self, **outputs: Any) -> None:  # noqa: ANN401
        """Takes further images; other arguments are those of other metrics."""
        state = self.evaluator.get_value().update(
            self.state.get_value(), outputs[self.images], outputs.get(self.mask)
        )
        self.state.set_value(state)

    def compute(self) -> float:
        """Returns the metric of all images so far."""
        return compute_one(self.evaluator.get_value(), self.state.get_value(), self.metric)
