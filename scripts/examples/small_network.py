"""A network of one's own in place of the FID's: the distance is then called `fd_small`.

From this folder:

    jaxfid score REAL GENERATED --extractor small_network:make_network

The network below is a few Flax layers with random weights, where yours will load trained ones.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import jaxfid

SIZE_PX, WIDTH = 32, 24

PROTOCOL = jaxfid.Protocol(
    name="small_32",
    resampling="antialiased_bicubic",
    shift=(123.675, 116.28, 103.53),  # ImageNet's mean and standard deviation
    divisor=(58.395, 57.12, 57.375),
    description="32 pixels by Pillow's bicubic, normalised by ImageNet's statistics",
    size_px=SIZE_PX,
)


class SmallNetwork(nn.Module):
    """Two convolutions and an average over space."""

    @nn.compact
    def __call__(self, images: Float[Array, "n 32 32 3"]) -> Float[Array, "n 24"]:
        """Returns the features of scaled images."""
        x = nn.relu(nn.Conv(12, (3, 3), strides=2, precision="highest")(images))
        x = nn.relu(nn.Conv(WIDTH, (3, 3), strides=2, precision="highest")(x))
        return x.mean(axis=(1, 2))


def make_network() -> jaxfid.Extractor:
    """Returns the network with its weights and the way its images are prepared."""
    network = SmallNetwork()
    params = network.init(jax.random.key(0), jnp.zeros((1, SIZE_PX, SIZE_PX, 3)))
    return jaxfid.Extractor(
        name="small", protocol=PROTOCOL, width=WIDTH, params=params, apply=network.apply
    )
