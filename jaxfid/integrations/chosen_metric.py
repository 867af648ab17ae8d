"""Which number an adapter gives: the slots of metrics take one."""

from jaxfid.errors import InputError
from jaxfid.evaluator import Evaluator
from jaxfid.extraction.evaluator_state import EvaluatorState


def compute_one(evaluator: Evaluator, state: EvaluatorState, name: str | None) -> float:
    """Returns one metric of a state, computed by all processes together.

    Args:
      evaluator: What made the state.
      state: As `Evaluator.compute` takes it.
      name: Which of the evaluator's metrics; None for its only one.

    Raises:
      InputError: There is no such metric, several and no choice, or this one could not be computed.
    """
    found = evaluator.compute(state).metrics
    chosen = [one for one in found if name in (None, one)]
    if len(chosen) != 1:
        raise InputError(f"metric: expected one of {', '.join(found)}, found {name}")
    metric = found[chosen[0]]
    if metric.value is None:
        raise InputError(f"{chosen[0]}: {metric.reason}")
    return metric.value
