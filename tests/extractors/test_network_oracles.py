"""Published networks at their full sizes against their own packages, on seeded random weights.

JAXFID_ORACLE_PYTHON names a Python that has them; scripts/fixtures/make_network_fixtures.py lists them.
"""

import json
import os
import pathlib
import subprocess

import jax
import numpy as np
import pytest

from jaxfid.extractors.checkpoint_layouts import convert_tensors
from jaxfid.extractors.layers import nest_params, param_shapes
from jaxfid.extractors.networks import NETWORKS, make_module
from jaxfid.extractors.precision import get_precision
from tests.extractors.network_data import FULL, make_images, make_tensors

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = "scripts/fixtures/make_network_fixtures.py"
PYTHON = os.environ.get("JAXFID_ORACLE_PYTHON")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not PYTHON, reason="JAXFID_ORACLE_PYTHON names no Python"),
]


@pytest.mark.parametrize("case", FULL)
def test_features_are_those_of_the_published_network(case, tmp_path):
    output = tmp_path / "expected.npz"
    subprocess.run([PYTHON, SCRIPT, "--full", case, output], cwd=ROOT, check=True)
    with np.load(output) as file:
        expected = dict(file)
    tensors = make_tensors(json.loads(str(expected[f"{case}/shapes"])))
    name = case if case in NETWORKS else case.removesuffix("_timm")
    rule_name, size_px, input_px = FULL[case]
    (rule,) = [rule for rule in NETWORKS[name].protocols if rule.name == rule_name]
    assert (rule.size_px, rule.input_px) == (size_px, input_px)
    module = make_module(NETWORKS[name], rule, get_precision("float32"))
    shapes = param_shapes(module, input_px)
    params = nest_params(convert_tensors(tensors, shapes, network=name))
    images = make_images(input_px, padding_px=input_px - size_px)
    for feature, found in jax.jit(module.apply)({"params": params}, images).items():
        wanted = expected[f"{case}/{feature}"]
        errors = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        print(f"{case} {feature}: relative error {errors.max():.1e}")
        assert errors.max() < 1e-5  # float32 on both sides, up to 40 blocks
