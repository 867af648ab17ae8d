"""Layers that several networks are made of. Parameters have the names and the layout of torch's.

A checkpoint's tensors are the parameters as they are: nothing is transposed, so that a file of a gigabyte
needs no second copy, and a parameter's path is its name in the file.
"""

# ruff: noqa: D102 - a layer's class docstring speaks for its __call__

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxfid.extractors.precision import Precision

Activation = Callable[[Float[Array, "*n d"]], Float[Array, "*n d"]]


def _gelu(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    return jax.nn.gelu(x, approximate=False)


def _gelu_tanh(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    return jax.nn.gelu(x, approximate=True)


def _quick_gelu(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
}
"""GELU by the error function, by its tanh formula, and as OpenAI's CLIP has it."""


class Dense(nn.Module):
    """A product with a matrix `weight` (outputs, inputs), and a `bias`."""

    features: int
    precision: Precision
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
        weight = self.param("weight", nn.initializers.zeros, (self.features, x.shape[-1]))
        products = lax.Precision[self.precision.products]
        y = jnp.einsum("...i,oi->...o", x, weight.astype(x.dtype), precision=products)
        if not self.use_bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)


class PatchProduct(nn.Module):
    """A convolution whose stride is its size, without padding: one product of each patch."""

    features: int
    side_px: int
    precision: Precision
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        (n, height, width, channels), px = x.shape, self.side_px
        shape = (self.features, channels, px, px)
        weight = self.param("weight", nn.initializers.zeros, shape).astype(x.dtype)
        # No stride and no overlap: a product of matrices, which every backend does at its best speed.
        patches = x.reshape(n, height // px, px, width // px, px, channels)
        products = lax.Precision[self.precision.products]
        y = jnp.einsum("nhpwqc,fcpq->nhwf", patches, weight, precision=products)
        if not self.use_bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)


class LayerNorm(nn.Module):
    """Normalisation over the last axis, in float32 whatever the activations are."""

    eps: float

    @nn.compact
    def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        weight = self.param("weight", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        wide = x.astype(jnp.float32)
        # Centred first: the difference of two large moments would cancel in float32.
        centred = wide - wide.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return (centred * lax.rsqrt(variance + self.eps) * weight + bias).astype(x.dtype)


class Chain(nn.Module):
    """Layers one after the other, named 0, 1, 2 and so on, as torch's Sequential names them."""

    layers: Sequence[Callable[..., nn.Module]]

    @nn.compact
    def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*m e"]:
        for index, make_layer in enumerate(self.layers):
            x = make_layer(name=str(index))(x)
        return x


def param_shapes(network: nn.Module, side_px: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each parameter by its dotted path; nothing is computed.

    Args:
      network: Of images `(n, side, side, 3)`.
      side_px: A side that it takes.
    """
    images = jax.ShapeDtypeStruct((1, side_px, side_px, 3), jnp.float32)
    # The network itself is the table: it cannot disagree with what it reads.
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    flat: dict[str, Any] = flax.traverse_util.flatten_dict(variables["params"], sep=".")
    return {name: leaf.shape for name, leaf in flat.items()}


def nest_params(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns tensors by dotted path as the nested dict that Flax takes."""
    return flax.traverse_util.unflatten_dict(dict(tensors), sep=".")
