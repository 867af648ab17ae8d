"""The adapter for Kauldron gives the evaluator's value; skipped where Kauldron is not installed."""

import jax
import pytest

from tests.integrations.scored import BATCHES, evaluator, expected

pytest.importorskip("kauldron", reason="Kauldron brings TensorFlow; pip install kauldron")


def make_metric(**options):
    from jaxfid.integrations.kauldron import EvaluatorMetric

    return EvaluatorMetric(evaluator=evaluator(), images="preds.image", **options)


def test_steps_merge_from_the_context():
    metric = make_metric(mask="batch.mask")
    step = jax.jit(metric.get_state_from_context)
    state = metric.empty()
    for images, mask in BATCHES:
        state = state.merge(step({"preds": {"image": images}, "batch": {"mask": mask}}))
    assert state.finalize().compute() == pytest.approx(expected(), rel=1e-6)  # float32 features


def test_one_call_scores_one_batch():
    images, _ = BATCHES[0]
    state = evaluator().update(evaluator().init(), images)
    value = evaluator().compute(state).metrics["fd_tiny"].value
    assert make_metric()(images=images) == pytest.approx(value, rel=1e-6)
