"""A class-conditional diffusion transformer in Flax NNX, sharded over all devices, and its sampler."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, PRNGKeyArray

SIDE_PX, PATCH_PX = 16, 4
NUM_CLASSES = 4
WIDTH, DEPTH, HEADS = 64, 2, 4
STEPS = 12

NOTHING = NUM_CLASSES
"""The class that stands for none, by which guidance is told what to lead away from."""

AXIS = "devices"

Images = Float[Array, "n 16 16 3"]
Tokens = Float[Array, "n t d"]
State = Any


class Block(nnx.Module):
    """Attention and a perceptron, each scaled and shifted by what the block is told of time and class."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        """Makes the layers; the last one is zero, so that the block begins by doing nothing."""
        self.norm = nnx.LayerNorm(WIDTH, use_scale=False, use_bias=False, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.widen = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.narrow = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)
        self.modulate = nnx.Linear(
            WIDTH, 6 * WIDTH, kernel_init=nnx.initializers.zeros_init(), rngs=rngs
        )

    def __call__(self, x: Tokens, told: Float[Array, "n d"]) -> Tokens:
        """Returns the tokens of the next block."""
        parts = jnp.split(self.modulate(nnx.silu(told))[:, None], 6, axis=-1)
        shift, scale, gate, shift_2, scale_2, gate_2 = parts
        x = x + gate * self.attend(self.norm(x) * (1 + scale) + shift)
        h = self.widen(self.norm(x) * (1 + scale_2) + shift_2)
        return x + gate_2 * self.narrow(nnx.gelu(h))


class Transformer(nnx.Module):
    """From noisy images, their times (0 for noise to 1 for images) and classes to velocities."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        """Makes the layers."""
        size = PATCH_PX * PATCH_PX * 3
        self.embed = nnx.Linear(size, WIDTH, rngs=rngs)
        self.place = nnx.Embed((SIDE_PX // PATCH_PX) ** 2, WIDTH, rngs=rngs)
        self.label = nnx.Embed(NUM_CLASSES + 1, WIDTH, rngs=rngs)
        self.time = nnx.Linear(16, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(DEPTH)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.read = nnx.Linear(WIDTH, size, rngs=rngs)

    def __call__(self, x: Images, t: Float[Array, " n"], labels: Int[Array, " n"]) -> Images:
        """Returns the velocity of each pixel."""
        n, side = len(x), SIDE_PX // PATCH_PX
        patches = x.reshape(n, side, PATCH_PX, side, PATCH_PX, 3).transpose(0, 1, 3, 2, 4, 5)
        h = self.embed(patches.reshape(n, side * side, -1)) + self.place(jnp.arange(side * side))
        waves = t[:, None] * 2.0 ** jnp.arange(8)
        told = self.time(jnp.concatenate([jnp.sin(waves), jnp.cos(waves)], axis=1))
        told = told + self.label(labels)
        for block in self.blocks:
            h = block(h, told)
        patches = self.read(self.norm(h)).reshape(n, side, side, PATCH_PX, PATCH_PX, 3)
        return patches.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape)


def make_mesh() -> Mesh:
    """Returns all devices in a row, those of all processes among them."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), (jax.sharding.AxisType.Auto,))


def shard(tree: State, mesh: Mesh) -> State:
    """Returns how each array is laid over the devices: along its first axis that can be divided."""

    def choose(leaf: Any) -> NamedSharding:  # noqa: ANN401
        for axis, length in enumerate(leaf.shape):
            if length % mesh.size == 0 and length:
                return NamedSharding(mesh, P(*[None] * axis, AXIS))
        return NamedSharding(mesh, P())

    return jax.tree.map(choose, tree)


def init(seed: int, mesh: Mesh) -> State:
    """Returns the parameters of a network that knows nothing yet; no device ever holds them whole."""

    def make() -> State:
        return nnx.to_pure_dict(nnx.split(Transformer(nnx.Rngs(seed)))[1])

    return jax.jit(make, out_shardings=shard(jax.eval_shape(make), mesh))()


def apply(params: State, x: Images, t: Float[Array, " n"], labels: Int[Array, " n"]) -> Images:
    """Returns the network's output with these parameters."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Transformer(nnx.Rngs(0))))
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)(x, t, labels)


def loss(
    params: State, images: Images, labels: Int[Array, " n"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """Returns the mean squared error of the velocity; one label in ten is withheld."""
    for_noise, for_time, for_labels = jax.random.split(key, 3)
    noise = jax.random.normal(for_noise, images.shape)
    t = jax.random.uniform(for_time, (len(images),))
    at = t[:, None, None, None]
    told = jnp.where(jax.random.uniform(for_labels, labels.shape) < 0.1, NOTHING, labels)
    found = apply(params, at * images + (1 - at) * noise, t, told)
    return jnp.mean(jnp.square(found - (images - noise)))


def make_sample(path: Path, ema: float = 0.99) -> Callable[..., Images]:
    """Returns the function that draws images from a checkpoint of `train.py`.

    `jaxfid compare --sweep ema=0.9,0.99` calls this function once for each average, and
    `--sweep cfg=1,1.5` calls what it returns with each guidance, loading nothing again.

    Args:
      path: Of the checkpoint.
      ema: Which of its averages.
    """
    mesh = make_mesh()
    shapes = jax.eval_shape(functools.partial(init, 0, mesh))
    wanted = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shard(shapes, mesh),
    )
    with ocp.StandardCheckpointer() as checkpointer:
        params = checkpointer.restore(Path(path).absolute() / f"ema_{ema:g}", wanted)
    return functools.partial(draw, mesh, params)


@functools.partial(jax.jit, static_argnums=0)
def draw(
    mesh: Mesh, params: State, key: PRNGKeyArray, labels: Int[Array, " n"], cfg: float = 1.0
) -> Images:
    """Returns an image in -1..1 of each class, led from noise in equal steps; sharded over all devices.

    Args:
      mesh: All devices.
      params: The parameters.
      key: Of the noise.
      labels: As many as the devices divide.
      cfg: Guidance: 1 for none.
    """
    n = len(labels)
    over_devices = NamedSharding(mesh, P(AXIS))
    x = jax.random.normal(key, (n, SIDE_PX, SIDE_PX, 3))
    x = jax.lax.with_sharding_constraint(x, over_devices)

    def step(x: Images, t: Float[Array, ""]) -> tuple[Images, None]:
        times = jnp.full(n, t)
        led = apply(params, x, times, labels)
        free = apply(params, x, times, jnp.full(n, NOTHING))
        return x + (free + cfg * (led - free)) / STEPS, None

    x = jax.lax.scan(step, x, jnp.arange(STEPS) / STEPS)[0]
    return jax.lax.with_sharding_constraint(jnp.clip(x, -1, 1), over_devices)
