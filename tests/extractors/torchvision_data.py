"""Random weights and images that torchvision's network was given for its fixture, without torch."""

import math
import zlib
from collections.abc import Mapping

import numpy as np

SIDES_PX = ((299, 299), (120, 83))
"""One image that needs no resize, and one that does."""


def make_tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Tensors of these names and shapes; values of a scale that comes through 48 layers."""
    return {name: _draw(name, shape) for name, shape in shapes.items()}


def _draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    low, high = {"weight": (0.8, 1.2), "running_var": (0.8, 1.2)}.get(
        name.rpartition(".")[2], (-0.1, 0.1)
    )
    if len(shape) > 1:
        high = math.sqrt(6 / math.prod(shape[1:]))
        low = -high
    return (rng.random(shape, np.float32) * (high - low) + low).astype(np.float32)


def make_images() -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.integers(0, 256, (*side, 3), dtype=np.uint8) for side in SIDES_PX]
