"""An evaluator as a metric of Kauldron, in the slot that `kd.metrics` has for an FID."""

import dataclasses

import flax.struct
import numpy as np
from jaxtyping import Array, Bool, Shaped
from kauldron.kontext import REQUIRED, Key  # pyright: ignore[reportMissingImports]
from kauldron.metrics.base import Metric  # pyright: ignore[reportMissingImports]

from jaxfid.evaluator import Evaluator
from jaxfid.extraction.evaluator_state import EvaluatorState
from jaxfid.integrations.chosen_metric import compute_one


@dataclasses.dataclass(kw_only=True, frozen=True)
class EvaluatorMetric(Metric):
    """Scores images against the evaluator's reference.

    Attributes:
      evaluator: Any. Its weights become a part of the compiled function that calls `get_state`.
      images: Where the images are in the context.
      mask: Where it says which of them count; None for all.
      metric: Which of the evaluator's metrics is given; None for its only one.
    """

    evaluator: Evaluator
    images: Key = REQUIRED
    mask: Key | None = None
    metric: str | None = None

    @flax.struct.dataclass
    class State(Metric.State):
        """The images so far."""

        kept: EvaluatorState | None = None

        @classmethod
        def empty(cls) -> "EvaluatorMetric.State":
            """Returns the state of no images."""
            return cls()

        def merge(self, other: "EvaluatorMetric.State") -> "EvaluatorMetric.State":
            """Returns the state of the images of both."""
            kept = [state.kept for state in (self, other) if state.kept is not None]
            return dataclasses.replace(self, kept=kept[0] + kept[1] if len(kept) == 2 else kept[0])

        def compute(self) -> float:
            """Returns the value."""
            kept = self.parent.empty().kept if self.kept is None else self.kept
            return compute_one(self.parent.evaluator, kept, self.parent.metric)

    def empty(self) -> "EvaluatorMetric.State":
        """Returns the state of no images."""
        return self.State(kept=self.evaluator.init())

    def get_state(
        self,
        images: Shaped[Array | np.ndarray, "n h w 3"],
        mask: Bool[Array | np.ndarray, " n"] | None = None,
    ) -> "EvaluatorMetric.State":
        """Returns the state of the images of one step."""
        return self.State(kept=self.evaluator.update(self.evaluator.init(), images, mask))
