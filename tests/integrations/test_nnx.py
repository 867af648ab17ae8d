"""The adapter for Flax NNX gives the evaluator's value, in `nnx.jit` and beside other metrics."""

import jax
import pytest
from flax import nnx

from jaxfid.errors import InputError
from jaxfid.integrations.nnx import EvaluatorMetric
from tests.integrations.scored import BATCHES, evaluator, expected


def feed(metric, update):
    for images, mask in BATCHES:
        update(metric, {"images": images, "mask": mask, "values": images[:, 0, 0, 0]})
    return metric.compute()


@nnx.jit
def compiled(metric, outputs):
    metric.update(**outputs)


def test_it_gives_the_value_of_all_images_compiled_and_again_after_a_reset():
    metric = EvaluatorMetric(evaluator())
    for _ in range(2):
        assert feed(metric, compiled) == pytest.approx(expected(), rel=1e-6)  # float32 features
        metric.reset()
    with pytest.raises(InputError, match="needs at least 2 images, found 0"):
        metric.compute()


def test_it_stands_beside_other_metrics():
    both = nnx.MultiMetric(fid=EvaluatorMetric(evaluator()), mean=nnx.metrics.Average("values"))
    found = feed(both, lambda metric, outputs: metric.update(**outputs))
    assert found["fid"] == pytest.approx(expected(), rel=1e-6)


def test_the_weights_are_an_argument_of_the_compiled_function():
    metric = EvaluatorMetric(evaluator())
    leaves = jax.tree.leaves(nnx.state(metric))
    assert len(leaves) == len(jax.tree.leaves((evaluator(), evaluator().init())))


def test_a_metric_that_is_not_there_is_named():
    metric = EvaluatorMetric(evaluator(), metric="kd_tiny")
    with pytest.raises(InputError, match="metric: expected one of fd_tiny, found kd_tiny"):
        feed(metric, lambda metric, outputs: metric.update(**outputs))
