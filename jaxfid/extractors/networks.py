"""The published vision networks beside the Inceptions, a row for each.

A row says what the network is, and with which input rules tools use it; `weights/manifest.json` says where
its weights come from. Where two tools disagree about a network itself (CLIP's activation), there are two
rows.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array, Float

from jaxfid.errors import InputError
from jaxfid.extractors.checkpoint_layouts import convert_tensors
from jaxfid.extractors.convnext import ConvNext, ConvNextConfig
from jaxfid.extractors.interface import Extractor, SharedApply
from jaxfid.extractors.layers import param_shapes
from jaxfid.extractors.manifest import find_release
from jaxfid.extractors.precision import Precision, get_precision
from jaxfid.extractors.published import load_network_weights
from jaxfid.extractors.vgg import Vgg, VggConfig
from jaxfid.extractors.vit import VisionTransformer, VitConfig
from jaxfid.extractors.weights_file import WeightsFile
from jaxfid.preprocessing.protocol import (
    CLIP,
    CLIP_FID,
    CMMD,
    DGM_EVAL,
    EDM2,
    FDR,
    HALF,
    IMAGENET,
    STYLEGAN_VGG16,
    TORCH_FIDELITY_DINOV2,
    Protocol,
    fdr_protocol,
)

Module = VisionTransformer | ConvNext | Vgg


@dataclasses.dataclass(frozen=True)
class Network:
    """One row.

    Attributes:
      name: What `--extractor` calls it.
      config: Its sizes.
      protocols: The input rules that tools use it with, the default one first.
    """

    name: str
    config: VitConfig | ConvNextConfig | VggConfig
    protocols: tuple[Protocol, ...]

    @property
    def features(self) -> Mapping[str, int]:
        """Widths of the features by name, the default one first."""
        return self.config.features

    @property
    def protocol_names(self) -> tuple[str, ...]:
        """Names of the input rules, the default one first."""
        return tuple(protocol.name for protocol in self.protocols)


def _dinov2(size: str, config: VitConfig) -> Network:
    protocols = (DGM_EVAL, EDM2, TORCH_FIDELITY_DINOV2, fdr_protocol(256, IMAGENET, multiple_px=14))
    return Network(f"dinov2_vit{size}14", config, protocols)


_DINOV2_L = VitConfig(
    width=1024,
    depth=24,
    heads=16,
    patch_px=14,
    grid=37,
    mlp_width=4096,
    positions="hub",
    layer_scale=True,
)
_DINOV2_S = dataclasses.replace(_DINOV2_L, width=384, depth=12, heads=6, mlp_width=1536)
_DINOV2_B = dataclasses.replace(_DINOV2_L, width=768, depth=12, heads=12, mlp_width=3072)
_DINOV2_G = dataclasses.replace(_DINOV2_L, width=1536, depth=40, heads=24, activation="swiglu")

_CLIP_L = VitConfig(
    width=1024,
    depth=24,
    heads=16,
    patch_px=14,
    grid=16,
    mlp_width=4096,
    activation="quick_gelu",
    eps=1e-5,
    pre_norm=True,
    projection=768,
)
_CLIP_B = dataclasses.replace(
    _CLIP_L, width=768, depth=12, heads=12, patch_px=32, grid=7, mlp_width=3072, projection=512
)


_VGG16 = VggConfig(((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3), 4096)

NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        _dinov2("s", _DINOV2_S),
        _dinov2("b", _DINOV2_B),
        _dinov2("l", _DINOV2_L),
        _dinov2("g", _DINOV2_G),
        Network("clip_vitb32", _CLIP_B, (CLIP_FID,)),
        Network("clip_vitl14", _CLIP_L, (CLIP_FID,)),
        Network("clip_vitl14_336", dataclasses.replace(_CLIP_L, grid=24), (CMMD,)),
        # timm's vit_large_patch14_clip_224.openai has the exact GELU where OpenAI trained with another one,
        # and FDr^6 takes the class token before the projection.
        Network(
            "clip_vitl14_timm",
            dataclasses.replace(_CLIP_L, activation="gelu", projection=None),
            (fdr_protocol(256, CLIP, multiple_px=14),),
        ),
        Network(
            "mae_vitl16",
            VitConfig(width=1024, depth=24, heads=16, patch_px=16, grid=14, mlp_width=4096),
            (fdr_protocol(224, IMAGENET, multiple_px=16),),
        ),
        # FDr^6 gives this network 224 pixels, although it was trained at 256.
        Network(
            "siglip2_so400m_256",
            VitConfig(
                width=1152,
                depth=27,
                heads=16,
                patch_px=16,
                grid=16,
                mlp_width=4304,
                activation="gelu_tanh",
                attention_pool=True,
            ),
            (fdr_protocol(224, HALF, multiple_px=16),),
        ),
        Network(
            "convnextv2_base",
            ConvNextConfig(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)),
            (fdr_protocol(224, IMAGENET),),
        ),
        # torch-fidelity gives its VGG16 the same input as its DINOv2.
        Network("vgg16", _VGG16, (TORCH_FIDELITY_DINOV2,)),
        Network("vgg16_stylegan", _VGG16, (STYLEGAN_VGG16,)),
    )
}
"""The rows by name."""


def make_network(
    name: str, weights: str | Path, precision: str, protocol: Protocol | None = None
) -> Extractor:
    """Returns a network of `NETWORKS` with its weights.

    Args:
      name: A name out of `NETWORKS`.
      weights: Path of a checkpoint, or "untrained".
      precision: Name of how products are taken.
      protocol: The input rule; None for the network's default. `fdr` becomes the network's own variant.

    Raises:
      InputError: The file does not hold the network, or the input rule does not fit it.
      WeightsUnavailableError: No file was named.
    """
    network, named = NETWORKS[name], get_precision(precision)
    rule = _choose_protocol(network, protocol)
    module = make_module(network, rule, named)
    # Shapes without values: a file is checked against them before memory for the network is taken.
    make_shapes = functools.partial(param_shapes, module, rule.input_px)
    release = find_release(name)
    loaded = load_network_weights(weights, make_shapes, release, network=name)
    return Extractor(
        name=name,
        protocol=rule,
        width=network.features,
        params=loaded.params,
        apply=SharedApply(_apply, (module,)),
        weights_name=loaded.name,
        precision=precision,
        weights_sha256=loaded.sha256,
        weights_official=loaded.official,
        license=release.license,
        is_own=False,
        choices=_describe_choices(module),
    )


def check_weights(name: str, file: WeightsFile) -> None:
    """Checks that a file holds a network of `NETWORKS`.

    Raises:
      InputError: It does not; every mismatch is listed.
    """
    network = NETWORKS[name]
    rule = network.protocols[0]
    shapes = param_shapes(make_module(network, rule, get_precision("float32")), rule.input_px)
    convert_tensors(file.tensors, shapes, network=name, repeated=file.repeated)


def _describe_choices(module: Module) -> dict[str, str]:
    """What tools choose differently for the same weights."""
    if not isinstance(module, VisionTransformer):
        return {}
    return {"positions": module.config.positions, "activation": module.config.activation}


def make_module(network: Network, protocol: Protocol, precision: Precision) -> Module:
    """Returns the network without its weights, for one input rule."""
    config = network.config
    if isinstance(config, ConvNextConfig):
        return ConvNext(config, precision)
    if isinstance(config, VggConfig):
        return Vgg(config, precision)
    if protocol.name == FDR.name:  # FDr^6 is of timm's code, which has its own rule for positions
        config = dataclasses.replace(config, positions="timm")
    return VisionTransformer(config, precision)


def _apply(
    module: Module, params: Mapping[str, Any], images: Float[Array, "n s s 3"]
) -> dict[str, Float[Array, "n _"]]:
    # `Any`, because Flax's apply may return state as well.
    features: Any = module.apply({"params": params}, images)
    return features


def _choose_protocol(network: Network, protocol: Protocol | None) -> Protocol:
    """The network's own variant of what was asked for, with the crops that were asked for."""
    if protocol is None:
        return network.protocols[0]
    own = {p.name: p for p in network.protocols}
    if protocol.name == FDR.name and FDR.name in own:
        protocol = dataclasses.replace(own[FDR.name], crops=protocol.crops)
    if protocol.input_px % network.config.multiple_px:
        raise InputError(
            f"protocol: {network.name} takes images whose side is a multiple of "
            f"{network.config.multiple_px} pixels, found "
            f"{protocol.input_px} of {protocol.name}; its own are {', '.join(own)}"
        )
    return protocol
