"""The adapter for CLU gives the evaluator's value, merged over steps and over devices."""

import flax
import jax
import numpy as np
import pytest
from clu import metrics

from jaxfid.integrations.clu import make_metric
from tests.integrations.scored import BATCHES, GENERATED, MASKS, evaluator, expected


def make_collection():
    @flax.struct.dataclass
    class Collection(metrics.Collection):
        fid: make_metric(evaluator())
        mean: metrics.Average.from_output("values")

    return Collection


def outputs(images, mask):
    return {"images": images, "mask": mask, "values": images[:, 0, 0, 0]}


def test_steps_merge_in_a_collection():
    collection = make_collection()
    step = jax.jit(lambda total, out: total.merge(collection.single_from_model_output(**out)))
    total = collection.empty()
    for images, mask in BATCHES:
        total = step(total, outputs(images, mask))
    assert total.compute()["fid"] == pytest.approx(expected(), rel=1e-6)  # float32 features


@pytest.mark.slow
def test_devices_are_gathered():
    collection = make_collection()
    gather = jax.pmap(
        lambda out: collection.gather_from_model_output(axis_name="batch", **out),
        axis_name="batch",
    )
    out = outputs(GENERATED, MASKS.ravel())
    total = gather(jax.tree.map(lambda a: a.reshape(4, -1, *a.shape[1:]), out))
    found = jax.tree.map(lambda leaf: np.asarray(leaf)[0], total).compute()
    assert found["fid"] == pytest.approx(expected(), rel=1e-6)
