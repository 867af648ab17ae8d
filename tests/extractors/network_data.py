"""Small networks, their random weights and images, for the fixtures of the reference code. NumPy alone."""

import math
import zlib
from collections.abc import Mapping

import numpy as np

# Two blocks, narrow; sizes that share no factor, so that a swapped axis shows.
DINOV2 = dict(width=48, depth=2, heads=3, patch_px=14, grid=7, mlp_width=192, layer_scale=True)
MAE = dict(width=40, depth=2, heads=4, patch_px=16, grid=3, mlp_width=160)
CLIP = dict(width=48, depth=2, heads=4, patch_px=8, grid=5, mlp_width=192, eps=1e-5, pre_norm=True)
SIGLIP = dict(
    **dict(width=36, depth=2, heads=3, patch_px=8, grid=6, mlp_width=134),
    **dict(activation="gelu_tanh", attention_pool=True),
)

VITS = {
    # Name of a case: the network, and the side of its input.
    "dinov2_hub": (dict(DINOV2, positions="hub"), 56),
    "dinov2_hub_swiglu": (dict(DINOV2, positions="hub", activation="swiglu", mlp_width=128), 56),
    "dinov2_hub_stored_grid": (dict(DINOV2, positions="hub"), 98),
    "dinov2_timm_padded": (dict(DINOV2), 126),
    "mae": (MAE, 48),
    "clip_timm_gelu": (CLIP, 56),
    "clip_openai": (dict(CLIP, activation="quick_gelu", projection=20), 40),
    "clip_transformers": (dict(CLIP, activation="quick_gelu", projection=20), 40),
    "siglip2": (SIGLIP, 48),
    "siglip2_smaller": (SIGLIP, 40),
}
FULL = {
    # Name of a network, its input rule, the side that the rule resizes to and the side of the input.
    "dinov2_vits14": ("dgm_eval", 224, 224),
    "dinov2_vitb14": ("dgm_eval", 224, 224),
    "dinov2_vitl14": ("dgm_eval", 224, 224),
    "dinov2_vitg14": ("dgm_eval", 224, 224),
    "dinov2_vitl14_timm": ("fdr", 256, 266),
    "clip_vitb32": ("clip_fid", 224, 224),
    "clip_vitl14": ("clip_fid", 224, 224),
    "clip_vitl14_336": ("cmmd", 336, 336),
    "clip_vitl14_timm": ("fdr", 256, 266),
    "mae_vitl16": ("fdr", 224, 224),
    "siglip2_so400m_256": ("fdr", 224, 224),
    "convnextv2_base": ("fdr", 224, 224),
    "vgg16": ("torch_fidelity_dinov2", 224, 224),
}

CONVNEXT = dict(depths=(1, 1, 3, 1), widths=(12, 20, 28, 36))
CONVNEXT_PX = 64
VGG = dict(widths=((4, 6), (8,), (8,), (10,), (12,)), hidden=20)
VGG_PX = 224


def make_tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Tensors of these names and shapes, each from a seed of its own name."""
    return {name: _draw(name, tuple(shape)) for name, shape in shapes.items()}


def _draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    low, high = _bounds(name, shape)
    return (rng.random(shape, np.float32) * (high - low) + low).astype(np.float32)


def _bounds(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Of a scale that keeps a signal through the blocks, and shows every term."""
    if any(part in name for part in ("pos", "class_embedding", "token", "latent")):
        return -1.0, 1.0
    if "grn" in name or "gamma" in name:
        return 0.3, 0.9
    if len(shape) > 1:
        bound = math.sqrt(3 / math.prod(shape[1:]))
        return -bound, bound
    return (0.8, 1.2) if name.endswith("weight") else (-0.1, 0.1)


def make_images(side_px: int, *, padding_px: int = 0) -> np.ndarray:
    """Two scaled images, with zeros right and below where a network pads."""
    rng = np.random.default_rng(side_px)
    images = rng.random((2, side_px, side_px, 3), np.float32) * 4 - 2
    if padding_px:
        images[:, -padding_px:], images[:, :, -padding_px:] = 0, 0
    return images
