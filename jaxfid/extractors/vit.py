"""Vision transformers: one network for DINOv2, CLIP's image tower, MAE and SigLIP 2.

    images -> patches -> + positions (-> norm) -> blocks -> norm -> class token (-> projection)
                                                                or attention pool

Parameters have the paths of timm's checkpoints, which are also those of DINOv2's release.
"""

# ruff: noqa: D102 - a layer's class docstring speaks for its __call__

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Float32

from jaxfid.extractors.layers import ACTIVATIONS, Chain, Dense, LayerNorm, PatchProduct
from jaxfid.extractors.positions import PositionRule, position_weights
from jaxfid.extractors.precision import Precision


@dataclasses.dataclass(frozen=True)
class VitConfig:
    """The choices in which vision transformers differ.

    Attributes:
      width: Width of a token.
      depth: Number of blocks.
      heads: Number of attention heads.
      patch_px: Side of a patch.
      grid: Side of the stored grid of position embeddings, in patches.
      mlp_width: Width inside a block's MLP.
      activation: Of the MLPs. `swiglu` gates one half of them by the other's SiLU.
      eps: Of every LayerNorm.
      positions: How the stored grid becomes the image's grid where they differ.
      layer_scale: Whether each branch is multiplied by a vector before it is added.
      pre_norm: Whether tokens are normalised before the blocks, as in CLIP; patches then have no bias.
      attention_pool: Whether the feature is an attention pool over all tokens, and there is no class token.
      projection: Width of CLIP's projection of the class token; None where there is none.
    """

    width: int
    depth: int
    heads: int
    patch_px: int
    grid: int
    mlp_width: int
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "swiglu"] = "gelu"
    eps: float = 1e-6
    positions: PositionRule = "timm"
    layer_scale: bool = False
    pre_norm: bool = False
    attention_pool: bool = False
    projection: int | None = None

    @property
    def multiple_px(self) -> int:
        """What the side of an image is a multiple of."""
        return self.patch_px

    @property
    def features(self) -> dict[str, int]:
        """Widths of the features by name, the default one first."""
        widths = (self.width,) if self.projection is None else (self.projection, self.width)
        return {str(width): width for width in widths}


class VisionTransformer(nn.Module):
    """The network from scaled images to features by name.

    Attributes:
      config: Its shape.
      precision: How products are taken; features are float32 in any case.
    """

    config: VitConfig
    precision: Precision

    @nn.compact
    def __call__(self, images: Float[Array, "n s s 3"]) -> dict[str, Float32[Array, "n _"]]:
        c, p = self.config, self.precision
        x = PatchEmbed(c, p, name="patch_embed")(images.astype(p.dtype))
        x = self._add_positions(x)
        if c.pre_norm:
            x = LayerNorm(c.eps, name="norm_pre")(x)
        # Unrolled and not scanned: a scan would copy each block's weights out of one large array for every
        # image, and the checkpoint would have to be stacked first.
        x = Chain([functools.partial(Block, c, p)] * c.depth, name="blocks")(x)
        if c.attention_pool:
            x = LayerNorm(c.eps, name="norm")(x)
            pooled = AttentionPool(c, p, name="attn_pool")(x)
        else:  # no other token is needed any more
            pooled = LayerNorm(c.eps, name="norm")(x[:, 0])
        features = {str(c.width): pooled.astype(jnp.float32)}
        if c.projection is not None:
            projected = Dense(c.projection, p, use_bias=False, name="head")(pooled)
            features[str(c.projection)] = projected.astype(jnp.float32)
        return features

    def _add_positions(self, patches: Float[Array, "n h w d"]) -> Float[Array, "n t d"]:
        """Returns the tokens: class token first where there is one, then the patches by rows."""
        c, (n, height, width, d) = self.config, patches.shape
        zeros, num_class = nn.initializers.zeros, int(not c.attention_pool)
        stored = self.param("pos_embed", zeros, (1, num_class + c.grid**2, d))
        # The class token has a position of its own, which is not part of the grid.
        grid = stored[0, num_class:].reshape(c.grid, c.grid, d)
        rows, cols = (position_weights(c.grid, side, c.positions) for side in (height, width))
        highest = lax.Precision.HIGHEST  # small, and the tools do it in float32
        grid = jnp.einsum("ab,bcd->acd", rows, grid, precision=highest)
        grid = jnp.einsum("wc,acd->awd", cols, grid, precision=highest)
        tokens = (patches + grid.astype(patches.dtype)).reshape(n, height * width, d)
        if not num_class:
            return tokens
        first = self.param("cls_token", zeros, (1, 1, d)) + stored[:, :1]
        first = jnp.broadcast_to(first.astype(tokens.dtype), (n, 1, d))
        return jnp.concatenate([first, tokens], axis=1)


class PatchEmbed(nn.Module):
    """A token of each patch."""

    config: VitConfig
    precision: Precision

    @nn.compact
    def __call__(self, images: Float[Array, "n s s 3"]) -> Float[Array, "n h w d"]:
        c, p = self.config, self.precision
        return PatchProduct(c.width, c.patch_px, p, use_bias=not c.pre_norm, name="proj")(images)


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm, each added to what goes around it."""

    config: VitConfig
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        c, p = self.config, self.precision
        y = Attention(c.heads, p, name="attn")(LayerNorm(c.eps, name="norm1")(x))
        x = x + (LayerScale(name="ls1")(y) if c.layer_scale else y)
        y = Mlp(c.mlp_width, c.activation, p, name="mlp")(LayerNorm(c.eps, name="norm2")(x))
        return x + (LayerScale(name="ls2")(y) if c.layer_scale else y)


class LayerScale(nn.Module):
    """A product with a learned vector."""

    @nn.compact
    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        return x * self.param("gamma", nn.initializers.ones, x.shape[-1:]).astype(x.dtype)


class Attention(nn.Module):
    """Self-attention; queries, keys and values come from one product."""

    heads: int
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        n, t, d = x.shape
        qkv = Dense(3 * d, self.precision, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(n, t, 3, self.heads, d // self.heads), 2, 0)
        mixed = _attend(q, k, v, self.precision)
        return Dense(d, self.precision, name="proj")(mixed.reshape(n, t, d))


def _attend(
    q: Float[Array, "n s h k"],
    k: Float[Array, "n t h k"],
    v: Float[Array, "n t h k"],
    precision: Precision,
) -> Float[Array, "n s h k"]:
    # The function takes no precision; that of a context stands at each product once it is traced.
    with jax.default_matmul_precision(precision.products.lower()):
        return jax.nn.dot_product_attention(q, k, v)


class Mlp(nn.Module):
    """Two products with an activation between, or SwiGLU's three."""

    width: int
    activation: str
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        if self.activation == "swiglu":
            # The gate is the first half, in DINOv2's release as in timm.
            both = Dense(2 * self.width, self.precision, name="w12")(x)
            gate, value = jnp.split(both, 2, axis=-1)
            return Dense(x.shape[-1], self.precision, name="w3")(jax.nn.silu(gate) * value)
        y = ACTIVATIONS[self.activation](Dense(self.width, self.precision, name="fc1")(x))
        return Dense(x.shape[-1], self.precision, name="fc2")(y)


class AttentionPool(nn.Module):
    """SigLIP's pool: one learned query attends to all tokens, then an MLP."""

    config: VitConfig
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n d"]:
        c, p, (n, t, d) = self.config, self.precision, x.shape
        # The query is the same for every image, and is projected once.
        latent = self.param("latent", nn.initializers.zeros, (1, 1, d)).astype(x.dtype)
        q = Dense(d, p, name="q")(latent).reshape(1, 1, c.heads, d // c.heads)
        kv = Dense(2 * d, p, name="kv")(x).reshape(n, t, 2, c.heads, d // c.heads)
        k, v = jnp.moveaxis(kv, 2, 0)
        mixed = _attend(jnp.broadcast_to(q, (n, *q.shape[1:])), k, v, p).reshape(n, 1, d)
        y = Dense(d, p, name="proj")(mixed)
        y = y + Mlp(c.mlp_width, c.activation, p, name="mlp")(LayerNorm(c.eps, name="norm")(y))
        return y[:, 0]
