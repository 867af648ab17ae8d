"""Draws a data set of four shapes, a class each, so that nothing need be downloaded.

python shapes.py REFERENCE.npy
"""

import sys

import numpy as np
from jaxtyping import Float32, Int64

SIDE_PX = 16
NUM_IMAGES = 512


def draw_shapes(
    labels: Int64[np.ndarray, " n"], rng: np.random.Generator
) -> Float32[np.ndarray, "n 16 16 3"]:
    """Returns images in -1..1: discs, squares, crosses and rings of any colour, on any other."""
    n = len(labels)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    centre = rng.uniform(5.5, 9.5, (2, n, 1, 1))
    down, across = np.abs(y - centre[0]), np.abs(x - centre[1])
    radius, size = np.hypot(down, across), rng.uniform(3.5, 5, (n, 1, 1))
    shapes = np.stack([
        radius < size,
        np.maximum(down, across) < size * 0.9,
        (np.minimum(down, across) < 1.2) & (np.maximum(down, across) < size * 1.2),
        np.abs(radius - size) < 1.2,
    ])  # fmt: skip
    mask = shapes[labels, np.arange(n)][..., None]
    ink, paper = rng.uniform(0.2, 1, (n, 1, 1, 3)), rng.uniform(-1, -0.2, (n, 1, 1, 3))
    return np.where(mask, ink, paper).astype(np.float32)


def main(path: str) -> None:
    """Writes the reference: as many images of each class, as uint8."""
    labels = np.arange(NUM_IMAGES) % 4
    images = draw_shapes(labels, np.random.default_rng(1))
    np.save(path, np.round((images + 1) * 127.5).astype(np.uint8))


if __name__ == "__main__":
    main(*sys.argv[1:])
