"""The published vision networks beside the Inceptions, a row for each.

A row says what the network is, with which input rules tools use it, and where its weights come from. Where
two tools disagree about a network itself (CLIP's activation), there are two rows.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array, Float

from jaxfid.errors import InputError
from jaxfid.extractors.convnext import ConvNext, ConvNextConfig
from jaxfid.extractors.interface import Extractor
from jaxfid.extractors.layers import param_shapes
from jaxfid.extractors.precision import Precision, get_precision
from jaxfid.extractors.published import Published, load_network_weights
from jaxfid.extractors.vgg import Vgg, VggConfig
from jaxfid.extractors.vit import VisionTransformer, VitConfig
from jaxfid.preprocessing.protocol import (
    CLIP,
    CLIP_FID,
    CMMD,
    DGM_EVAL,
    EDM2,
    FDR,
    HALF,
    IMAGENET,
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
      published: Its weights.
    """

    name: str
    config: VitConfig | ConvNextConfig | VggConfig
    protocols: tuple[Protocol, ...]
    published: Published

    @property
    def features(self) -> Mapping[str, int]:
        """Widths of the features by name, the default one first."""
        return self.config.features

    @property
    def protocol_names(self) -> tuple[str, ...]:
        """Names of the input rules, the default one first."""
        return tuple(protocol.name for protocol in self.protocols)


def _dinov2(size: str, config: VitConfig, *, sha256: str | None = None) -> Network:
    name = f"dinov2_vit{size}14"
    file = f"{name}_pretrain.pth"
    url = f"https://dl.fbaipublicfiles.com/dinov2/{name}/{file}"
    protocols = (DGM_EVAL, EDM2, TORCH_FIDELITY_DINOV2, fdr_protocol(256, IMAGENET, multiple_px=14))
    return Network(name, config, protocols, Published(file, url, "Apache-2.0", sha256))


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


def _openai(file: str, sha256: str) -> Published:
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}"
    return Published(file, url, "MIT", sha256)


_OPENAI_L = _openai(
    "ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
)


def _timm(name: str, license: str) -> Published:
    url = f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
    return Published("model.safetensors", url, license)


NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        _dinov2("s", _DINOV2_S),
        _dinov2("b", _DINOV2_B),
        _dinov2(
            "l",
            _DINOV2_L,
            sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        ),
        _dinov2("g", _DINOV2_G),
        Network(
            "clip_vitb32",
            _CLIP_B,
            (CLIP_FID,),
            _openai(
                "ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
            ),
        ),
        Network("clip_vitl14", _CLIP_L, (CLIP_FID,), _OPENAI_L),
        Network(
            "clip_vitl14_336",
            dataclasses.replace(_CLIP_L, grid=24),
            (CMMD,),
            _openai(
                "ViT-L-14-336px.pt",
                "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
            ),
        ),
        # timm's vit_large_patch14_clip_224.openai has the exact GELU where OpenAI trained with another one,
        # and FDr^6 takes the class token before the projection.
        Network(
            "clip_vitl14_timm",
            dataclasses.replace(_CLIP_L, activation="gelu", projection=None),
            (fdr_protocol(256, CLIP, multiple_px=14),),
            _OPENAI_L,
        ),
        Network(
            "mae_vitl16",
            VitConfig(width=1024, depth=24, heads=16, patch_px=16, grid=14, mlp_width=4096),
            (fdr_protocol(224, IMAGENET, multiple_px=16),),
            _timm("vit_large_patch16_224.mae", "CC-BY-NC-4.0"),
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
            _timm("vit_so400m_patch16_siglip_256.v2_webli", "Apache-2.0"),
        ),
        Network(
            "convnextv2_base",
            ConvNextConfig(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)),
            (fdr_protocol(224, IMAGENET),),
            _timm("convnextv2_base.fcmae_ft_in22k_in1k", "CC-BY-NC-4.0"),
        ),
        # torch-fidelity gives its VGG16 the same input as its DINOv2.
        Network(
            "vgg16",
            VggConfig(((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3), 4096),
            (TORCH_FIDELITY_DINOV2,),
            Published(
                "vgg16-397923af.pth",
                "https://download.pytorch.org/models/vgg16-397923af.pth",
                "BSD-3-Clause",
            ),
        ),
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
    loaded = load_network_weights(weights, make_shapes, network.published, network=name)
    return Extractor(
        name=name,
        protocol=rule,
        width=network.features,
        params=loaded.params,
        apply=functools.partial(_apply, module),
        weights_name=loaded.name,
        precision=precision,
        weights_sha256=loaded.sha256,
        weights_official=loaded.official,
        license=network.published.license,
        is_own=False,
        choices=_describe_choices(module),
    )


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
