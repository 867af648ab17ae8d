"""A small flow-matching model in Flax, and the sampler that `jaxfid compare` is given."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array, Float, PRNGKeyArray

SIDE_PX, PATCH_PX = 32, 2
STEPS = 16

Params = Any
Images = Float[Array, "n 32 32 3"]


class Block(nn.Module):
    """Two convolutions around which the input goes, told the time."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], time: Float[Array, "n d"]) -> Array:
        """Returns the block's output, of `width` channels."""
        h = nn.Conv(self.width, (3, 3))(nn.silu(nn.GroupNorm(8)(x)))
        h = h + nn.Dense(self.width)(time)[:, None, None]
        h = nn.Conv(self.width, (3, 3))(nn.silu(nn.GroupNorm(8)(h)))
        return h + (x if x.shape[-1] == self.width else nn.Conv(self.width, (1, 1))(x))


class Velocity(nn.Module):
    """From noisy images and their times, 0 for noise to 1 for images, to where they are to go."""

    width: int = 48

    @nn.compact
    def __call__(self, x: Images, t: Float[Array, " n"]) -> Images:
        """Returns the velocity of each pixel."""
        n, side = len(x), SIDE_PX // PATCH_PX
        patches = x.reshape(n, side, PATCH_PX, side, PATCH_PX, 3)
        h = patches.transpose(0, 1, 3, 2, 4, 5).reshape(n, side, side, -1)
        waves = t[:, None] * 2.0 ** jnp.arange(8)
        time = nn.silu(nn.Dense(128)(jnp.concatenate([jnp.sin(waves), jnp.cos(waves)], axis=1)))
        wide = Block(self.width)(nn.Conv(self.width, (3, 3))(h), time)
        deep = nn.Conv(2 * self.width, (3, 3), strides=2)(wide)
        deep = Block(2 * self.width)(Block(2 * self.width)(deep, time), time)
        h = jax.image.resize(deep, (n, side, side, deep.shape[-1]), "nearest")
        h = Block(self.width)(jnp.concatenate([h, wide], axis=-1), time)
        h = nn.Conv(PATCH_PX * PATCH_PX * 3, (3, 3))(nn.silu(nn.GroupNorm(8)(h)))
        patches = h.reshape(n, side, side, PATCH_PX, PATCH_PX, 3)
        return patches.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape)


def init(key: PRNGKeyArray) -> Params:
    """Returns the parameters of a network that knows nothing yet."""
    return Velocity().init(key, jnp.zeros((1, SIDE_PX, SIDE_PX, 3)), jnp.zeros(1))


def loss(params: Params, images: Images, key: PRNGKeyArray) -> Float[Array, ""]:
    """Returns the mean squared error of the velocity on the straight way from noise to images."""
    for_noise, for_time = jax.random.split(key)
    noise = jax.random.normal(for_noise, images.shape)
    t = jax.random.uniform(for_time, (len(images),))
    at = t[:, None, None, None]
    wanted = images - noise
    found = Velocity().apply(params, at * images + (1 - at) * noise, t)
    return jnp.mean(jnp.square(found - wanted))


@functools.partial(jax.jit, static_argnames="n")
def draw(params: Params, key: PRNGKeyArray, n: int) -> Images:
    """Returns `n` images in -1..1, led from noise in equal steps."""
    x = jax.random.normal(key, (n, SIDE_PX, SIDE_PX, 3))

    def step(x: Images, t: Float[Array, ""]) -> tuple[Images, None]:
        return x + Velocity().apply(params, x, jnp.full(n, t)) / STEPS, None

    return jax.lax.scan(step, x, jnp.arange(STEPS) / STEPS)[0]


def make_sample(checkpoint: Path) -> Callable[[PRNGKeyArray, int], Images]:
    """Returns the function that draws images from a checkpoint of `train.py`.

    The parameters are NumPy arrays and an argument of `draw`: so each device gets its own, and
    all checkpoints have one compiled program.
    """
    with ocp.StandardCheckpointer() as checkpointer:
        saved = checkpointer.restore(Path(checkpoint).absolute() / "default")
    return functools.partial(draw, jax.tree.map(np.asarray, saved))
