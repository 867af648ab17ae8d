"""Stand-ins for what takes hours: a network of one product, and as many pictures as are asked for."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

# Names that the earlier editions have as well, so that one bench can time both.
from jaxfid import PROTOCOLS, FeatureNetwork

WIDTH = 2048
SIDE_PX, STRIDE_PX = 32, 37


class Noise(Sequence):
    """So many pictures of noise, each made when it is asked for and equal every time."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "s s 3"]:
        rng = np.random.default_rng(index)
        return rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)


def make_stand_in() -> FeatureNetwork:
    """Returns a network of as many features as pool3: a grid of pixels, one product, ReLU."""
    points = len(range(0, 299, STRIDE_PX)) ** 2 * 3
    matrix = np.random.default_rng(0).normal(size=(points, WIDTH)).astype(np.float32)

    def apply(
        matrix: Float[Array, "points d"], images: Float[Array, "n 299 299 3"]
    ) -> Float[Array, "n d"]:
        pixels = images[:, ::STRIDE_PX, ::STRIDE_PX].reshape(len(images), -1)
        return jax.nn.relu(jnp.matmul(pixels, matrix, precision="highest"))

    return FeatureNetwork("stand_in", PROTOCOLS["legacy_tensorflow"], WIDTH, matrix, apply)
