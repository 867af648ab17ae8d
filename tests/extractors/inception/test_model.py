"""The network: its tree is the checkpoint's, its features agree with pytorch-fid's, its precision stands."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from jaxfid.errors import InputError
from jaxfid.extractors.inception.checkpoint import CONVOLUTIONS, untrained_params
from jaxfid.extractors.inception.model import FEATURE_WIDTHS, Inception, extract_features
from jaxfid.extractors.precision import PRECISIONS, get_precision

IMAGE = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)


def shapes_of(tree) -> dict[str, tuple]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(key.key for key in path): leaf.shape for path, leaf in leaves}


def lowered_text(features, precision):
    function = functools.partial(
        extract_features, features=features, precision=get_precision(precision)
    )
    return jax.jit(function).lower(untrained_params(), IMAGE).as_text()


def test_parameters_are_those_of_the_checkpoint():
    network = Inception(tuple(FEATURE_WIDTHS), get_precision("float32"))
    params = jax.eval_shape(network.init, jax.random.key(0), IMAGE)["params"]
    expected = {f"{path}.kernel": shape for path, shape in CONVOLUTIONS.items()}
    expected |= {f"{path}.bias": shape[-1:] for path, shape in CONVOLUTIONS.items()}
    expected |= {"fc.kernel": (2048, 1008), "fc.bias": (1008,)}
    assert shapes_of(params) == expected


@pytest.mark.parametrize(("name", "width"), FEATURE_WIDTHS.items())
def test_features_have_their_width_and_no_layer_beyond_is_run(name, width):
    apply = functools.partial(
        extract_features, features=(name,), precision=get_precision("bfloat16")
    )
    features = jax.eval_shape(apply, untrained_params(), IMAGE)
    assert {k: (v.shape, v.dtype) for k, v in features.items()} == {name: ((1, width), jnp.float32)}
    convolutions = lowered_text((name,), "float32").count("stablehlo.convolution")
    assert convolutions == count_convolutions_before(name)


def count_convolutions_before(feature: str) -> int:
    """From the checkpoint's table; 1 x 1 convolutions are products."""
    last = {
        "64": "Conv2d_2b_3x3",
        "192": "Conv2d_4a_3x3",
        "spatial": "Mixed_6d.branch_pool",
        "768": "Mixed_6e.branch_pool",
    }.get(feature, "Mixed_7c.branch_pool")
    names = list(CONVOLUTIONS)
    return sum(CONVOLUTIONS[n][:2] != (1, 1) for n in names[: names.index(last) + 1])


@pytest.mark.parametrize(
    ("precision", "word"),
    [("float32", "HIGHEST"), ("tensorfloat32", "HIGH"), ("bfloat16", "DEFAULT")],
)
def test_precision_stands_at_every_operation(precision, word):
    with jax.default_matmul_precision("bfloat16"):
        text = lowered_text(("768",), precision)
    named = re.findall(r"precision(?:_config)? = \[(.*?)\]", text)
    operations = text.count("stablehlo.convolution") + text.count("stablehlo.dot_general")
    assert operations > 60
    assert len(named) == operations
    assert {re.sub(r"#stablehlo<precision (\w+)>", r"\1", n) for n in named} == {f"{word}, {word}"}


def test_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision: expected one of float32, tensorfloat32"):
        get_precision("F32_F32_F32")
    assert set(PRECISIONS) == {"float32", "tensorfloat32", "bfloat16"}
