"""The network's tensors: complete, well shaped, folded as the plain formula says."""

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.extractors.inception.checkpoint import (
    CONVOLUTIONS,
    EXPECTED_TENSORS,
    check_tensors,
    fold_params,
    untrained_params,
)
from jaxfid.extractors.weights_file import read_tensors
from tests.shared_data import WEIGHTS, needs_shared


@pytest.fixture(scope="module")
def tensors():
    """A full set of plausible tensors: small numbers, variances between 0.5 and 1."""
    rng = np.random.default_rng(0)
    return {
        name: np.asarray(rng.random(shape, np.float32) / 2 + 0.5, dtype)
        for name, (shape, dtype) in EXPECTED_TENSORS.items()
    }


def faults_of(tensors, repeated=()):
    with pytest.raises(InputError) as caught:
        check_tensors(tensors, repeated)
    return str(caught.value)


def test_the_table_gives_the_known_counts():
    assert len(CONVOLUTIONS) == 94
    assert len(EXPECTED_TENSORS) == 566
    channels = sum(shape[-1] for shape in CONVOLUTIONS.values())
    numbers = sum(int(np.prod(shape)) for shape in CONVOLUTIONS.values())
    # As Keras counts its InceptionV3 without top: three numbers per channel in its BatchNorm.
    assert channels == 17_216
    assert numbers + 3 * channels == 21_802_784


@needs_shared
def test_the_shared_checkpoint_has_exactly_these_tensors():
    file = read_tensors(WEIGHTS)
    assert {n: (t.shape, t.dtype) for n, t in file.tensors.items()} == EXPECTED_TENSORS
    check_tensors(file.tensors, file.repeated)


def test_a_complete_set_passes(tensors):
    check_tensors(tensors)


def test_all_faults_are_listed_at_once(tensors):
    bad = dict(tensors)
    del bad["fc.bias"], bad["Mixed_5b.branch1x1.bn.weight"]
    bad["AuxLogits.conv0.conv.weight"] = np.zeros(3, np.float32)
    bad["fc.weight"] = tensors["fc.weight"].T
    bad["Conv2d_1a_3x3.conv.weight"] = tensors["Conv2d_1a_3x3.conv.weight"].astype(np.float16)
    bad["Mixed_7c.branch_pool.bn.num_batches_tracked"] = np.zeros((), np.float32)
    bad["Mixed_6a.branch3x3.bn.bias"] = np.full(384, np.nan, np.float32)
    bad["Mixed_6b.branch1x1.bn.running_mean"] = np.full(192, np.inf, np.float32)
    bad["Mixed_6c.branch1x1.bn.running_var"] = np.full(192, -1, np.float32)
    message = faults_of(bad, repeated=["Mixed_5c.branch1x1.bn.bias"])
    assert message.startswith("expected the 566 tensors of the FID's Inception-v3")
    assert "found 10 faults" in message
    for fault in (
        "missing: fc.bias",
        "missing: Mixed_5b.branch1x1.bn.weight",
        "unknown: 'AuxLogits.conv0.conv.weight'",
        "given more than once: 'Mixed_5c.branch1x1.bn.bias'",
        "wrong shape: fc.weight: expected (1008, 2048), found (2048, 1008)",
        "wrong dtype: Conv2d_1a_3x3.conv.weight: expected float32, found float16",
        "wrong dtype: Mixed_7c.branch_pool.bn.num_batches_tracked: expected int64, found float32",
        "not finite: Mixed_6a.branch3x3.bn.bias: 384 values",
        "not finite: Mixed_6b.branch1x1.bn.running_mean: 192 values",
        "negative variance: Mixed_6c.branch1x1.bn.running_var: down to -1.0",
    ):
        assert f"\n  {fault}" in message


def test_another_network_is_told_apart():
    assert "566 tensors" in faults_of({"features.0.weight": np.zeros(3, np.float32)})


def test_a_folded_convolution_is_convolution_then_batch_norm(tensors):
    path = "Mixed_6b.branch7x7_2"
    layer = fold_params(tensors)["Mixed_6b"]["branch7x7_2"]
    weight, gamma, beta, mean, variance = (
        tensors[f"{path}.{part}"].astype(np.float64)
        for part in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    )
    patch = np.random.default_rng(1).random((1, 7, 128))  # height, width, inputs
    convolved = np.einsum("oihw,hwi->o", weight, patch)
    expected = (convolved - mean) / np.sqrt(variance + 0.001) * gamma + beta
    found = np.einsum("hwio,hwi->o", layer["kernel"].astype(np.float64), patch) + layer["bias"]
    # One float32 rounding of each of 896 products and of the bias.
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_tree_has_the_layout_the_network_reads(tensors):
    params = fold_params(tensors)
    leaves = []
    for path, shape in CONVOLUTIONS.items():
        layer = params
        for name in path.split("."):
            layer = layer[name]
        assert layer["kernel"].shape == shape
        assert layer["bias"].shape == shape[-1:]
        leaves += layer.values()
    assert params["fc"]["kernel"].shape == (2048, 1008)
    np.testing.assert_array_equal(params["fc"]["kernel"], tensors["fc.weight"].T)
    np.testing.assert_array_equal(params["fc"]["bias"], tensors["fc.bias"])
    leaves += params["fc"].values()
    assert all(leaf.dtype == np.float32 and leaf.flags.c_contiguous for leaf in leaves)


def test_folding_beyond_float32_is_refused(tensors):
    bad = dict(tensors)
    bad["Conv2d_2a_3x3.conv.weight"] = np.full((32, 32, 3, 3), 3e38, np.float32)
    bad["Conv2d_2a_3x3.bn.weight"] = np.full(32, 2, np.float32)
    with pytest.raises(InputError, match=r"Conv2d_2a_3x3: .*beyond float32"):
        fold_params(bad)


def test_untrained_parameters_have_the_same_tree(tensors):
    def describe(tree):
        if isinstance(tree, dict):
            return {name: describe(value) for name, value in tree.items()}
        return tree.shape, tree.dtype

    assert describe(untrained_params()) == describe(fold_params(tensors))


def test_untrained_parameters_are_the_same_everywhere_for_a_seed():
    first, again, other = untrained_params(3), untrained_params(3), untrained_params(4)
    for name in ("Conv2d_1a_3x3", "fc"):
        np.testing.assert_array_equal(first[name]["kernel"], again[name]["kernel"])
        assert (first[name]["kernel"] != other[name]["kernel"]).mean() > 0.99


def test_untrained_parameters_are_plain_arithmetic_on_the_generators_bits():
    halves = np.array(np.random.PCG64(0).random_raw(8), "<u8").view("<u4")
    uniform = (halves >> 8) / 2.0**24
    expected = (2 * uniform - 1) * np.sqrt(6 / 27)
    kernel = untrained_params()["Conv2d_1a_3x3"]["kernel"]
    np.testing.assert_allclose(kernel.reshape(-1)[:16], expected, rtol=2e-7)  # float32 rounding


def test_untrained_kernels_have_hes_variance():
    for name, shape in (("Conv2d_4a_3x3", (3, 3, 80, 192)), ("fc", (2048, 1008))):
        kernel = untrained_params()[name]["kernel"].astype(np.float64)
        fan_in = np.prod(shape[:-1])
        # The variance of 1e5 uniform numbers and more is known to 3e-3 (one deviation).
        assert kernel.var() * fan_in == pytest.approx(2, rel=1e-2)
        assert abs(kernel.mean()) < 5 * kernel.std() / np.sqrt(kernel.size)
