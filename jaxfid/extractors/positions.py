"""Position embeddings at another grid than the one that they were trained at."""

import functools
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

PositionRule = Literal["hub", "timm"]
"""Whose resize of a stored grid: two rules, and so two different features of one image.

`hub`: DINOv2's own code: torch's bicubic (a = -0.75), no antialias, edges repeated, at a scale of
(n + 0.1) / stored. The 0.1 was meant against rounding, and it moves every position.
`timm`: torch's antialiased bicubic (a = -0.5) by size; pixels beyond the edge do not count.
"""


@functools.cache
def position_weights(stored: int, wanted: int, rule: PositionRule) -> Float32[np.ndarray, "n m"]:
    """Returns the matrix of one axis, from `stored` to `wanted` positions; read-only."""
    if stored == wanted:  # both tools return the stored grid itself
        weights = np.eye(wanted)
    else:
        weights = _hub_weights(stored, wanted) if rule == "hub" else _timm_weights(stored, wanted)
    weights = weights.astype(np.float32)
    weights.flags.writeable = False
    return weights


def _hub_weights(stored: int, wanted: int) -> Float64[np.ndarray, "n m"]:
    centres = (np.arange(wanted) + 0.5) * stored / (wanted + 0.1) - 0.5
    # Four taps around each centre, with no widening: without antialias a smaller grid skips positions.
    taps = np.floor(centres)[:, None] + np.arange(-1, 3)
    weights = np.zeros((wanted, stored))
    rows = np.arange(wanted)[:, None]
    edge = taps.clip(0, stored - 1).astype(int)
    np.add.at(weights, (rows, edge), _cubic(centres[:, None] - taps, -0.75))
    return weights


def _timm_weights(stored: int, wanted: int) -> Float64[np.ndarray, "n m"]:
    scale = stored / wanted
    centres = (np.arange(wanted) + 0.5) * scale
    distances = (np.arange(stored) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = _cubic(distances, -0.5)
    return weights / weights.sum(1, keepdims=True)


def _cubic(distance: Float64[np.ndarray, "n k"], a: float) -> Float64[np.ndarray, "n k"]:
    """Keys' cubic convolution."""
    x = np.abs(distance)
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
