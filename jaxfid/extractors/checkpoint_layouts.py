"""Names that checkpoints give to the parameters of vision transformers and ConvNeXt.

A layout tells for each of our parameters, whose names are timm's, which tensors of a file it is made of.
Nothing is copied but where a file holds queries, keys and values apart.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from jaxfid.extractors.inception.checkpoint import check_tensors

Shape = tuple[int, ...]


class Source(NamedTuple):
    """What a file holds of one parameter.

    Attributes:
      names: Tensors that follow each other along the first axis.
      shape: Of each of them.
      transposed: Whether the parameter is the transposed matrix.
    """

    names: tuple[str, ...]
    shape: Shape
    transposed: bool = False


class Layout(NamedTuple):
    """One tool's checkpoints.

    Attributes:
      source: From a parameter's name and shape to what a file holds of it.
      is_ignored: Whether a tensor of that name may be there without being a parameter: it is for training,
        for text, or a head that the feature does not go through.
    """

    source: Callable[[str, Shape], Source]
    is_ignored: Callable[[str], bool]


def convert_tensors(
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, Shape],
    *,
    network: str,
    repeated: Iterable[str] = (),
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Returns a network's parameters by name, in float32, from the tensors of a file.

    Args:
      tensors: By name, in any of the layouts; float16 and float32 may mix.
      shapes: Of the parameters by name.
      network: Its name, for messages.
      repeated: Names that the file gives more than once.

    Raises:
      InputError: Lists every tensor that is missing, unknown, repeated, not finite, or of another shape or
        type.
    """
    layout = find_layout(tensors, shapes)
    sources = {name: layout.source(name, shape) for name, shape in shapes.items()}
    expected = {
        name: (source.shape, _expected_dtype(tensors.get(name)))
        for source in sources.values()
        for name in source.names
    }
    # What is known to be for something else is left out; anything else that is not expected is a fault.
    used = {n: t for n, t in tensors.items() if n in expected or not layout.is_ignored(n)}
    check_tensors(used, repeated, expected=expected, network=network)
    return {name: _gather(used, sources[name], shape) for name, shape in shapes.items()}


def _expected_dtype(tensor: np.ndarray | None) -> np.dtype:
    """float16 is as good as float32: OpenAI's archives hold both."""
    half = tensor is not None and tensor.dtype == np.float16
    return np.dtype(np.float16 if half else np.float32)


def _gather(
    tensors: Mapping[str, np.ndarray], source: Source, shape: Shape
) -> Shaped[np.ndarray, "..."]:
    parts = [tensors[name] for name in source.names]
    tensor = parts[0] if len(parts) == 1 else np.concatenate(parts)
    tensor = tensor.T if source.transposed else tensor.reshape(shape)
    return tensor.astype(np.float32, copy=False)


def find_layout(tensors: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]) -> Layout:
    """Returns the layout that a file's names are of."""
    if any(name.startswith("visual.") for name in tensors):
        return OPENAI
    if any(name.startswith("vision_model.") for name in tensors):
        return TRANSFORMERS
    if "layers.conv1.weight" in tensors:
        return STYLEGAN_VGG
    gated = "blocks.0.mlp.w12.weight"
    return TIMM_SWIGLU if gated in shapes and gated not in tensors else TIMM


def _timm_is_ignored(name: str) -> bool:
    return name.startswith(("mask_token", "head.", "classifier.6."))


TIMM = Layout(lambda name, shape: Source((name,), shape), _timm_is_ignored)
"""timm's names, which DINOv2's release shares; torchvision's for VGG16."""

TIMM_SWIGLU = Layout(
    lambda name, shape: Source(
        (name.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."),), shape
    ),
    _timm_is_ignored,
)
"""timm's names for the giant DINOv2, where the release has w12 and w3."""

_VGG_POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Of VGG16's convolutions in torchvision's list, which StyleGAN counts from 1."""

_STYLEGAN_NAMES = {
    **{f"features.{place}": f"layers.conv{i}" for i, place in enumerate(_VGG_POSITIONS, start=1)},
    "classifier.0": "layers.fc1",
    "classifier.3": "layers.fc2",
}


def _stylegan_source(name: str, shape: Shape) -> Source:
    layer, _, part = name.rpartition(".")
    return Source((f"{_STYLEGAN_NAMES[layer]}.{part}",), shape)


STYLEGAN_VGG = Layout(
    _stylegan_source, lambda name: not name.startswith("layers.") or ".fc3." in name
)
"""The archive of VGG16 that StyleGAN2-ADA and StyleGAN3 load, with LPIPS' weights beside."""

_OPENAI_NAMES = {
    "cls_token": "class_embedding",
    "pos_embed": "positional_embedding",
    "head.weight": "proj",
    "patch_embed.proj.weight": "conv1.weight",
}
_OPENAI_PARTS = (
    ("norm_pre.", "ln_pre."),
    ("blocks.", "transformer.resblocks."),
    (".norm1.", ".ln_1."),
    (".norm2.", ".ln_2."),
    (".attn.qkv.", ".attn.in_proj_"),
    (".attn.proj.", ".attn.out_proj."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)


def _openai_source(name: str, shape: Shape) -> Source:
    found = _OPENAI_NAMES.get(name) or _replace(name, _OPENAI_PARTS, norm="ln_post.")
    return _clip_source(name, f"visual.{found}", shape, transposed=name == "head.weight")


OPENAI = Layout(
    _openai_source, lambda name: not name.startswith("visual.") or name == "visual.proj"
)
"""OpenAI's archives of CLIP, and open_clip's files."""

_TRANSFORMERS_NAMES = {
    "cls_token": "vision_model.embeddings.class_embedding",
    "pos_embed": "vision_model.embeddings.position_embedding.weight",
    "head.weight": "visual_projection.weight",
    "patch_embed.proj.weight": "vision_model.embeddings.patch_embedding.weight",
}
_TRANSFORMERS_PARTS = (
    ("norm_pre.", "pre_layrnorm."),  # their spelling
    ("blocks.", "encoder.layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.proj.", ".self_attn.out_proj."),
)


def _transformers_source(name: str, shape: Shape) -> Source:
    if known := _TRANSFORMERS_NAMES.get(name):
        return _clip_source(name, known, shape, transposed=False)
    found = "vision_model." + _replace(name, _TRANSFORMERS_PARTS, norm="post_layernorm.")
    if ".attn.qkv." not in found:
        return Source((found,), shape)
    names = tuple(found.replace(".attn.qkv.", f".self_attn.{part}_proj.") for part in "qkv")
    return Source(names, (shape[0] // 3, *shape[1:]))


def _transformers_is_ignored(name: str) -> bool:
    return not name.startswith("vision_model.") or name.endswith(".position_ids")


TRANSFORMERS = Layout(_transformers_source, _transformers_is_ignored)
"""Hugging Face's copies of CLIP."""


def _replace(name: str, parts: tuple[tuple[str, str], ...], *, norm: str) -> str:
    if name.startswith("norm."):
        return norm + name.removeprefix("norm.")
    for ours, theirs in parts:
        name = name.replace(ours, theirs)
    return name


def _clip_source(name: str, found: str, shape: Shape, *, transposed: bool) -> Source:
    """CLIP stores the class token and the positions without timm's leading axes."""
    if name == "cls_token":
        return Source((found,), shape[2:])
    if name == "pos_embed":
        return Source((found,), shape[1:])
    return Source((found,), shape[::-1] if transposed else shape, transposed)
