"""The TPU's own compiler takes the pass: no float64, no message between chips. No TPU is needed.

TPU_SKIP_MDS_QUERY=1 python -m pytest -m tpu -n 0 tests/extraction/test_tpu_compiler.py
"""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxfid.extraction.devices import DATA_AXIS, map_over_devices
from jaxfid.extraction.feature_pass import make_programs
from jaxfid.extraction.on_device import make_on_device
from jaxfid.extractors.inception.checkpoint import untrained_params
from jaxfid.extractors.inception.extractor import make_inception_extractor
from jaxfid.extractors.weights import Weights
from jaxfid.preprocessing.protocol import CLEAN, LEGACY_TENSORFLOW
from jaxfid.preprocessing.resize import batch_positions
from jaxfid.stats.integer_moments import integer_moments_of, zero_integer_moments

pytestmark = pytest.mark.tpu
COLLECTIVES = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
ROWS = 4
"""Images of one chip."""


@pytest.fixture(scope="module", autouse=True)
def needs_the_compiler():
    pytest.importorskip("libtpu")


def mesh_of(topology: str) -> Mesh:
    from jax.experimental import topologies

    described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    return Mesh(np.array(described.devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def shapes(tree, mesh, spec):
    """Arrays that lie on chips that are not here."""
    place = NamedSharding(mesh, spec)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), tree)


def compile_step(function, *args) -> str:
    """Compiles one step, and looks at what it became."""
    text = function.lower(*args).compile().as_text()
    assert "f64[" not in text
    assert not re.findall(COLLECTIVES, text)
    return text


def extractor(feature: str, precision: str, protocol=LEGACY_TENSORFLOW):
    weights = Weights("untrained", "0" * 64, False, untrained_params())
    return make_inception_extractor(weights, protocol, features=(feature,), precision=precision)


@pytest.mark.parametrize(
    ("feature", "precision", "protocol"),
    [("2048", "bfloat16", LEGACY_TENSORFLOW), ("64", "float32", CLEAN)],
)
def test_the_pass(feature, precision, protocol):
    mesh, network = mesh_of("v5e:4x4"), extractor(feature, precision, protocol)
    total = ROWS * mesh.size
    prepare, extract = make_programs(network, mesh)
    images = jax.ShapeDtypeStruct((total, 256, 256, 3), np.uint8)
    positions = batch_positions(protocol, np.full((total, 2), 256))
    rows = shapes((images, positions), mesh, P(DATA_AXIS))
    compile_step(prepare, (), rows)
    resized = shapes(jax.eval_shape(prepare, (), rows), mesh, P(DATA_AXIS))
    text = compile_step(extract, shapes(network.params, mesh, P()), resized)
    assert "reduce-window" in text


@pytest.mark.parametrize("topology", ["v5e:4x4", "v6e:4x4"])
def test_sums_in_whole_numbers(topology):
    mesh, width, rows = mesh_of(topology), 2048, 256

    def add(sums, rows, mask):
        return sums + integer_moments_of(rows[None], mask[None])

    args = (
        zero_integer_moments(width, lead=(mesh.size,)),
        jax.ShapeDtypeStruct((mesh.size * rows, width), jnp.float32),
        jax.ShapeDtypeStruct((mesh.size * rows,), jnp.bool_),
    )
    step = map_over_devices(add, mesh, replicated=(False,) * 3, donate=(0,))
    text = compile_step(step, *shapes(args, mesh, P(DATA_AXIS)))
    assert "s8[" in text


def test_an_evaluator_inside_a_sampling_step(monkeypatch):
    # A CPU would take images one by one.
    monkeypatch.setattr("jaxfid.extraction.array_features.is_cpu", lambda mesh: False)
    mesh, network = mesh_of("v5e:4x4"), extractor("64", "bfloat16")
    on_device = make_on_device(network, "64", value_range=(-1, 1), sums="integer", num_rows=64)

    def draw_and_add(params, state, keys):
        evaluator = dataclasses.replace(on_device, params=params)
        images = jax.vmap(lambda key: jax.random.uniform(key, (32, 32, 3), minval=-1))(keys)
        own = jax.tree.map(lambda leaf: leaf[0], state)
        added = evaluator.update(own, evaluator.features(images))
        return jax.tree.map(lambda leaf: leaf[None], added)

    states = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * mesh.size), on_device.init())
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), ROWS * mesh.size))
    step = map_over_devices(draw_and_add, mesh, replicated=(True, False, False), donate=(1,))
    params = shapes(network.params, mesh, P())
    text = compile_step(step, params, *shapes((states, keys), mesh, P(DATA_AXIS)))
    assert "s8[" in text
