"""Vision transformers and ConvNeXt V2 against the reference code's features on the same random weights."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.extractors.checkpoint_layouts import convert_tensors
from jaxfid.extractors.convnext import ConvNext, ConvNextConfig
from jaxfid.extractors.layers import nest_params, param_shapes
from jaxfid.extractors.positions import position_weights
from jaxfid.extractors.precision import get_precision
from jaxfid.extractors.vgg import Vgg, VggConfig
from jaxfid.extractors.vit import VisionTransformer, VitConfig
from tests.extractors.network_data import (
    CONVNEXT,
    CONVNEXT_PX,
    VGG,
    VGG_PX,
    VITS,
    make_images,
    make_tensors,
)

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "network_features.npz"
PADDING_PX = {"dinov2_timm_padded": 6}
FLOAT32 = get_precision("float32")
# float32 on both sides through the same products: relative L2 of a feature vector. Measured: 8e-7.
RELATIVE = 1e-5


@functools.cache
def load_fixture():
    with np.load(FIXTURE) as file:
        return dict(file)


def load_checkpoint(case):
    """The file's tensors, as the reference code's state dict has them."""
    return make_tensors(json.loads(str(load_fixture()[f"{case}/shapes"])))


def make_network(case, precision=FLOAT32):
    """The network and the side of its input."""
    if case == "convnextv2":
        return ConvNext(ConvNextConfig(**CONVNEXT), precision), CONVNEXT_PX
    if case == "vgg":
        return Vgg(VggConfig(**VGG), precision), VGG_PX
    config, side = VITS[case]
    return VisionTransformer(VitConfig(**config), precision), side


def load_params(case):
    network, side = make_network(case)
    shapes = param_shapes(network, side)
    return nest_params(convert_tensors(load_checkpoint(case), shapes, network=case))


def relative_error(found, expected):
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


every_network = pytest.mark.parametrize("case", [*VITS, "convnextv2", "vgg"])


@every_network
def test_features_are_those_of_the_reference_code(case):
    network, side = make_network(case)
    images = make_images(side, padding_px=PADDING_PX.get(case, 0))
    found = jax.jit(network.apply)({"params": load_params(case)}, images)
    assert {name: f.shape[1] for name, f in found.items()} == network.config.features
    for name, features in found.items():
        expected = load_fixture()[f"{case}/{name}"]
        assert features.dtype == jnp.float32
        assert expected.std(1).min() > 0.1  # the signal came through
        assert relative_error(features, expected).max() < RELATIVE


@every_network
def test_every_product_asks_for_full_float32(case):
    network, side = make_network(case)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    params = jax.eval_shape(network.init, jax.random.key(0), images)
    text = jax.jit(network.apply).lower(params, images).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line or "conv" in line]
    products = [line for line in products if "stablehlo.convert" not in line]
    assert len(products) >= 8
    assert all("HIGHEST" in line for line in products)


@pytest.mark.parametrize("case", ["mae"])
def test_other_precisions_are_near_and_not_the_same(case):
    _, side = make_network(case)
    images, params = make_images(side), load_params(case)
    full, half = (
        jax.jit(make_network(case, get_precision(name))[0].apply)({"params": params}, images)
        for name in ("float32", "bfloat16")
    )
    for name in full:
        assert half[name].dtype == jnp.float32
        # bfloat16 has 8 binary digits; two blocks lose some of them.
        assert 1e-4 < relative_error(half[name], full[name]).max() < 0.05


def test_features_do_not_depend_on_the_other_images():
    case = "dinov2_hub"
    network, side = make_network(case)
    params, images = {"params": load_params(case)}, jnp.asarray(make_images(side))
    (both,) = jax.jit(network.apply)(params, images).values()
    (one,) = jax.jit(network.apply)(params, images[:1]).values()
    assert relative_error(np.asarray(both[:1]), np.asarray(one)).max() < RELATIVE


def test_the_rule_of_positions_is_another_feature():
    config, side = VITS["dinov2_hub"]
    params, images = {"params": load_params("dinov2_hub")}, jnp.asarray(make_images(side))
    hub, timm = (
        jax.jit(VisionTransformer(VitConfig(**{**config, "positions": rule}), FLOAT32).apply)(
            params, images
        )
        for rule in ("hub", "timm")
    )
    assert relative_error(np.asarray(hub["48"]), np.asarray(timm["48"])).min() > 1e-3


@pytest.mark.parametrize("rule", ["hub", "timm"])
def test_positions_at_the_stored_grid_are_the_stored_ones(rule):
    np.testing.assert_array_equal(position_weights(7, 7, rule), np.eye(7))
    weights = position_weights(37, 16, rule)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=0, atol=1e-6)  # float32


# Checkpoints


def convert(case, change):
    network, side = make_network(case)
    tensors = load_checkpoint(case)
    change(tensors)
    return convert_tensors(tensors, param_shapes(network, side), network=case)


def test_one_error_lists_every_mismatch():
    def change(tensors):
        del tensors["norm.bias"]
        tensors["strange"] = np.zeros(3, np.float32)
        tensors["blocks.0.attn.qkv.weight"] = np.zeros((3, 48), np.float32)
        tensors["blocks.1.ls1.gamma"] = np.zeros(48, np.int32)
        tensors["norm.weight"] = np.full(48, np.nan, np.float32)

    with pytest.raises(InputError, match="tensors of dinov2_hub, found 5 faults") as error:
        convert("dinov2_hub", change)
    message = str(error.value)
    assert "missing: norm.bias" in message
    assert "unknown: 'strange'" in message
    assert "wrong shape: blocks.0.attn.qkv.weight: expected (144, 48), found (3, 48)" in message
    assert "wrong dtype: blocks.1.ls1.gamma: expected float32, found int32" in message
    assert "not finite: norm.weight: 48 values" in message


def test_errors_name_the_tensors_as_the_file_does():
    with pytest.raises(InputError, match=r"missing: visual\.transformer\.resblocks\.1\.ln_1\.bias"):
        convert(
            "clip_openai", lambda tensors: tensors.pop("visual.transformer.resblocks.1.ln_1.bias")
        )
    name = "vision_model.encoder.layers.0.self_attn.k_proj.weight"
    with pytest.raises(InputError, match=f"missing: {name}"):
        convert("clip_transformers", lambda tensors: tensors.pop(name))


def test_the_text_tower_of_clip_is_left_out():
    def add(tensors):
        tensors["transformer.resblocks.0.ln_1.weight"] = np.zeros(5, np.float32)
        tensors["logit_scale"] = np.zeros((), np.float32)
        tensors["input_resolution"] = np.array(40)

    plain, added = convert("clip_openai", lambda _: None), convert("clip_openai", add)
    assert plain.keys() == added.keys()


def test_float16_becomes_float32():
    def halve(tensors):
        for name in tensors:
            if tensors[name].ndim > 1:
                tensors[name] = tensors[name].astype(np.float16)

    halved = convert("clip_openai", halve)
    assert {tensor.dtype for tensor in halved.values()} == {np.dtype(np.float32)}
    exact = convert("clip_openai", lambda _: None)["head.weight"]
    np.testing.assert_allclose(halved["head.weight"], exact, rtol=1e-3)


def test_timm_s_names_of_the_gated_mlp_are_known():
    def rename(tensors):
        for name in list(tensors):
            new = name.replace(".w12.", ".fc1.").replace(".w3.", ".fc2.")
            tensors[new] = tensors.pop(name)

    renamed, plain = (convert("dinov2_hub_swiglu", f) for f in (rename, lambda _: None))
    for name, tensor in plain.items():
        np.testing.assert_array_equal(renamed[name], tensor)


def test_tensors_of_the_file_are_the_parameters_themselves():
    network, side = make_network("dinov2_hub")
    tensors = load_checkpoint("dinov2_hub")
    params = convert_tensors(tensors, param_shapes(network, side), network="dinov2")
    assert all(np.shares_memory(params[name], tensors[name]) for name in params)


def test_configs_are_hashable_for_jit():
    assert hash(VitConfig(**VITS["mae"][0])) == hash(VitConfig(**VITS["mae"][0]))
    assert dataclasses.replace(VitConfig(**VITS["mae"][0]), eps=1e-5) != VitConfig(**VITS["mae"][0])
