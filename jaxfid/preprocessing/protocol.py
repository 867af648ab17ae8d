"""Protocols (input rules): every choice between an image and a network's input, as frozen data with a name.

An image goes through the crops, the resize, the scaling, and the padding, in this order.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from jaxfid.errors import InputError, did_you_mean
from jaxfid.preprocessing.crop import parse_crop

INPUT_SIZE_PX = 299
"""Side of the square image that Inception-v3 is given."""


@dataclasses.dataclass(frozen=True)
class ResizeRule:
    """What a resampling is made of.

    Attributes:
      centres: Where the output pixels lie, and who rounds that: `tf1` is `dst * in / out` in float32;
        `half_pixel` is `(dst + 0.5) * in / out - 0.5` as torch rounds it; `torch` is the same as torch's
        antialiased kernels round it; `pillow` is the same in float64.
      kernel: `triangle` (bilinear) or `cubic` (Keys' with a = -0.5).
      antialias: Whether the kernel widens where an image gets smaller.
      clip: Whether values beyond 0..255 are clipped.
      rounded: Whether input, the image between the two axes, and output are 8-bit integers, as in Pillow.
    """

    centres: Literal["tf1", "half_pixel", "torch", "pillow"]
    kernel: Literal["triangle", "cubic"]
    antialias: bool = False
    clip: bool = False
    rounded: bool = False


RESIZE_RULES: Mapping[str, ResizeRule] = {
    "tf1_bilinear": ResizeRule("tf1", "triangle"),
    "half_pixel_bilinear": ResizeRule("half_pixel", "triangle"),
    "antialiased_bicubic": ResizeRule("pillow", "cubic", antialias=True, clip=True),
    "pillow_bicubic": ResizeRule("pillow", "cubic", antialias=True, clip=True, rounded=True),
    "torch_antialiased_bicubic": ResizeRule("torch", "cubic", antialias=True),
    "torch_antialiased_bilinear": ResizeRule("torch", "triangle", antialias=True),
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How an image of 0..255 becomes the network's input.

    Attributes:
      name: What results and statistics files carry.
      resampling: The rule that resizes to `size_px`; a key of `RESIZE_RULES`.
      shift: Subtracted from the resized image: one number, or one for each of red, green and blue.
      divisor: Divides the shifted image, likewise; the network sees about -1..1.
      description: One line for people.
      size_px: Side of the square image after the resize.
      crops: What is cut before the resize, in order; `jaxfid.preprocessing.crop` lists the crops.
      multiple_px: After the scaling, zeros are added right and below until the side is a multiple of this.
    """

    name: str
    resampling: str
    shift: float | tuple[float, float, float]
    divisor: float | tuple[float, float, float]
    description: str
    size_px: int = INPUT_SIZE_PX
    crops: tuple[str, ...] = ()
    multiple_px: int = 1

    def __post_init__(self) -> None:
        if self.resampling not in RESIZE_RULES:
            expected = ", ".join(RESIZE_RULES)
            raise InputError(f"resampling: expected one of {expected}, found {self.resampling!r}")
        if self.multiple_px < 1:
            raise InputError(f"multiple_px: expected 1 or more, found {self.multiple_px}")
        for crop in self.crops:
            parse_crop(crop)

    @property
    def rule(self) -> ResizeRule:
        """What its resampling is made of."""
        return RESIZE_RULES[self.resampling]

    @property
    def input_px(self) -> int:
        """Side of the network's input: `size_px` and the padding."""
        return -(-self.size_px // self.multiple_px) * self.multiple_px

    def with_crop(self, crop: str | None) -> "Protocol":
        """Returns this protocol with a crop before everything else; the same for None.

        Raises:
          InputError: The string names no crop.
        """
        return self if crop is None else dataclasses.replace(self, crops=(crop, *self.crops))

    def content(self) -> dict[str, Any]:
        """Returns everything that moves a pixel, ready for JSON: what provenance holds and compares.

        The name is not part of it. Two protocols of one content give the same inputs.
        """
        return {
            "crops": list(self.crops),
            "resampling": self.resampling,
            **dataclasses.asdict(self.rule),
            "size_px": self.size_px,
            "shift": _as_json(self.shift),
            "divisor": _as_json(self.divisor),
            "multiple_px": self.multiple_px,
        }


def _as_json(scaling: float | tuple[float, ...]) -> float | list[float]:
    """JSON gives a list back where a tuple was written."""
    return list(scaling) if isinstance(scaling, tuple) else scaling


def _in_grey_levels(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """A mean and a standard deviation for 0..1, as they are published, for 0..255."""
    (r, g, b), (sr, sg, sb) = mean, std
    return (255 * r, 255 * g, 255 * b), (255 * sr, 255 * sg, 255 * sb)


IMAGENET = _in_grey_levels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Shift and divisor by ImageNet's mean and standard deviation."""

CLIP = _in_grey_levels((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Shift and divisor by the mean and standard deviation of CLIP's training images."""

HALF = (127.5, 127.5)
"""Shift and divisor from 0..255 to -1..1."""

LEGACY_TENSORFLOW = Protocol(
    "legacy_tensorflow",
    "tf1_bilinear",
    128.0,
    128.0,
    "TensorFlow 1 bilinear without half-pixel centres: TTUR, ADM, EDM, StyleGAN, torch-fidelity",
)
LEGACY_PYTORCH = Protocol(
    "legacy_pytorch",
    "half_pixel_bilinear",
    *HALF,
    "bilinear with half-pixel centres, no antialias: pytorch-fid",
)
CLEAN = Protocol(
    "clean",
    "antialiased_bicubic",
    128.0,
    128.0,
    "Pillow's antialiased bicubic, not rounded: clean-fid",
)
TORCHMETRICS = Protocol(
    "torchmetrics",
    "torch_antialiased_bilinear",
    128.0,
    128.0,
    "torch's antialiased bilinear: torchmetrics from 1.8 on, by default",
)
DGM_EVAL = Protocol(
    "dgm_eval",
    "pillow_bicubic",
    *IMAGENET,
    "Pillow's antialiased bicubic, rounded to 8 bits: FD-DINOv2 of dgm-eval",
    size_px=224,
)
EDM2 = Protocol(
    "edm2",
    "torch_antialiased_bicubic",
    *IMAGENET,
    "torch's antialiased bicubic, neither clipped nor rounded: FD-DINOv2 of EDM2",
    size_px=224,
)
TORCH_FIDELITY_DINOV2 = Protocol(
    "torch_fidelity_dinov2",
    "tf1_bilinear",
    *IMAGENET,
    "TensorFlow 1 bilinear to 224: torch-fidelity's DINOv2 extractors",
    size_px=224,
)
STYLEGAN_VGG16 = dataclasses.replace(
    TORCH_FIDELITY_DINOV2,
    name="stylegan_vgg16",
    description="TensorFlow 1 bilinear to 224: the VGG16 of StyleGAN's precision and recall",
)
CMMD = Protocol(
    "cmmd",
    "pillow_bicubic",
    *CLIP,
    "the middle square, Pillow's antialiased bicubic, rounded to 8 bits: CMMD",
    size_px=336,
    crops=("center",),
)
CLIP_FID = Protocol(
    "clip_fid",
    "pillow_bicubic",
    *CLIP,
    "Pillow's bicubic of the short side to 224, the middle square: CLIP-FID of clean-fid",
    size_px=224,
    crops=("short:224",),
)
FDR = Protocol(
    "fdr",
    "torch_antialiased_bicubic",
    *IMAGENET,
    "torch's antialiased bicubic to each network's size, zeros to whole patches: FDr^6",
    size_px=224,
)
"""FDr^6 on a network that asks for nothing else; `fdr_protocol` makes those of the others."""

FDR_INCEPTION = dataclasses.replace(
    FDR, resampling="tf1_bilinear", shift=HALF[0], divisor=HALF[1], size_px=INPUT_SIZE_PX
)
"""FDr^6 on Inception: TensorFlow's resize as for an FID, but scaled as images of 0..1 are to -1..1."""

ProtocolName = Literal[
    "legacy_tensorflow",
    "legacy_pytorch",
    "clean",
    "torchmetrics",
    "dgm_eval",
    "edm2",
    "torch_fidelity_dinov2",
    "stylegan_vgg16",
    "cmmd",
    "clip_fid",
    "fdr",
]
"""For type checkers; a test holds it equal to the names below."""

PROTOCOLS = {
    p.name: p
    for p in (
        *(LEGACY_TENSORFLOW, LEGACY_PYTORCH, CLEAN, TORCHMETRICS),
        *(DGM_EVAL, EDM2, TORCH_FIDELITY_DINOV2, STYLEGAN_VGG16, CMMD, CLIP_FID, FDR),
    )
}
DEFAULT_PROTOCOL = LEGACY_TENSORFLOW


def fdr_protocol(
    size_px: int,
    scaling: tuple[float | tuple[float, float, float], float | tuple[float, float, float]],
    *,
    multiple_px: int = 1,
) -> Protocol:
    """Returns the `fdr` protocol of one network.

    Args:
      size_px: The size that FDr^6 resizes to for this network.
      scaling: The network's shift and divisor, timm's.
      multiple_px: Side of its patches.
    """
    shift, divisor = scaling
    return dataclasses.replace(
        FDR, size_px=size_px, shift=shift, divisor=divisor, multiple_px=multiple_px
    )


def get_protocol(protocol: str | Protocol) -> Protocol:
    """Returns the protocol of that name; a `Protocol` comes back as it is.

    Raises:
      InputError: There is no protocol of that name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        hint = did_you_mean(protocol, PROTOCOLS)
        raise InputError(
            f"protocol: expected one of {', '.join(PROTOCOLS)}, found {protocol!r}{hint}"
        )
    return PROTOCOLS[protocol]
