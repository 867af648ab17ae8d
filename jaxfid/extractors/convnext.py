"""ConvNeXt V2 up to its average over space, with the parameter paths of timm's checkpoints."""

# ruff: noqa: D102 - a layer's class docstring speaks for its __call__

import dataclasses
import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Float32

from jaxfid.extractors.layers import ACTIVATIONS, Chain, Dense, LayerNorm, PatchProduct
from jaxfid.extractors.precision import Precision

_EPS = 1e-6
"""Of every normalisation in the network."""

_STEM_PX = 4
_KERNEL_PX = 7
_MLP_RATIO = 4


@dataclasses.dataclass(frozen=True)
class ConvNextConfig:
    """The sizes of a ConvNeXt V2.

    Attributes:
      depths: Number of blocks of each stage.
      widths: Channels of each stage.
    """

    depths: Sequence[int]
    widths: Sequence[int]

    @property
    def multiple_px(self) -> int:
        """What the side of an image is a multiple of."""
        return _STEM_PX * 2 ** (len(self.widths) - 1)

    @property
    def features(self) -> dict[str, int]:
        """Widths of the features by name."""
        return {str(self.widths[-1]): self.widths[-1]}


class ConvNext(nn.Module):
    """The network from scaled images to features by name.

    Attributes:
      config: Its sizes.
      precision: How products are taken; features are float32 in any case.
    """

    config: ConvNextConfig
    precision: Precision

    @nn.compact
    def __call__(self, images: Float[Array, "n s s 3"]) -> dict[str, Float32[Array, "n _"]]:
        c, p = self.config, self.precision
        patches = functools.partial(PatchProduct, c.widths[0], _STEM_PX, p)
        x = Chain([patches, _norm], name="stem")(images.astype(p.dtype))
        stages = [
            functools.partial(Stage, width, depth, index > 0, p)
            for index, (width, depth) in enumerate(zip(c.widths, c.depths, strict=True))
        ]
        x = Chain(stages, name="stages")(x)
        # The mean comes before the head's norm, which is not applied.
        return {str(c.widths[-1]): x.astype(jnp.float32).mean((1, 2))}


_norm = functools.partial(LayerNorm, _EPS)


class Stage(nn.Module):
    """Blocks of one width; all stages but the first halve the side before."""

    width: int
    depth: int
    halve: bool
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        if self.halve:
            patches = functools.partial(PatchProduct, self.width, 2, self.precision)
            x = Chain([_norm, patches], name="downsample")(x)
        return Chain([functools.partial(Block, self.precision)] * self.depth, name="blocks")(x)


class Block(nn.Module):
    """Convolution of each channel, norm and MLP, added to what goes around."""

    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        y = DepthwiseConv(self.precision, name="conv_dw")(x)
        y = LayerNorm(_EPS, name="norm")(y)
        return x + Mlp(self.precision, name="mlp")(y)


class DepthwiseConv(nn.Module):
    """A 7 x 7 convolution of each channel alone."""

    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        channels = x.shape[-1]
        shape = (channels, 1, _KERNEL_PX, _KERNEL_PX)
        weight = self.param("weight", nn.initializers.zeros, shape).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,)).astype(x.dtype)
        y = lax.conv_general_dilated(
            x,
            weight,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
            feature_group_count=channels,
            precision=lax.Precision[self.precision.products],
        )
        return y + bias


class Mlp(nn.Module):
    """Two products, with GELU and V2's normalisation of responses between."""

    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        channels = x.shape[-1]
        y = Dense(_MLP_RATIO * channels, self.precision, name="fc1")(x)
        y = ResponseNorm(name="grn")(ACTIVATIONS["gelu"](y))
        return Dense(channels, self.precision, name="fc2")(y)


class ResponseNorm(nn.Module):
    """Each channel by its norm over space, relative to the mean norm of all channels; added to the input."""

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        weight = self.param("weight", nn.initializers.zeros, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        wide = x.astype(jnp.float32)  # sums of up to 3136 squares, which bfloat16 would not hold
        norms = jnp.sqrt((wide * wide).sum((1, 2), keepdims=True))
        relative = norms / (norms.mean(-1, keepdims=True) + _EPS)
        return (wide + weight * (wide * relative) + bias).astype(x.dtype)
