"""Protocols: every choice between image and feature that moves a score, as frozen data with a name."""

import dataclasses
from typing import Any, Literal

from jaxfid.errors import InputError

INPUT_SIZE_PX = 299
"""Side of the square image that Inception-v3 is given."""

Resampling = Literal["tf1_bilinear", "half_pixel_bilinear", "antialiased_bicubic"]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How an image of 0..255 becomes the network's input.

    Attributes:
      name: What results and statistics files carry.
      resampling: The rule that resizes to `size_px`; `jaxfid.preprocessing.resize` defines each.
      shift: Subtracted from the resized image: one number, or one for each of red, green and blue.
      divisor: Divides the shifted image, likewise; the network sees about -1..1.
      description: One line for people.
      size_px: Side of the square image that the network is given.
    """

    name: str
    resampling: Resampling
    shift: float | tuple[float, float, float]
    divisor: float | tuple[float, float, float]
    description: str
    size_px: int = INPUT_SIZE_PX

    def content(self) -> dict[str, Any]:
        """Returns everything that moves a pixel, as JSON holds it; names and descriptions do not count."""
        shift, divisor = (
            list(value) if isinstance(value, tuple) else value
            for value in (self.shift, self.divisor)
        )
        return {
            "size_px": self.size_px,
            "resampling": self.resampling,
            "shift": shift,
            "divisor": divisor,
        }


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
    127.5,
    127.5,
    "bilinear with half-pixel centres, no antialias: pytorch-fid",
)
CLEAN = Protocol(
    "clean",
    "antialiased_bicubic",
    128.0,
    128.0,
    "Pillow's antialiased bicubic, not rounded: clean-fid",
)

PROTOCOLS = {p.name: p for p in (LEGACY_TENSORFLOW, LEGACY_PYTORCH, CLEAN)}
DEFAULT_PROTOCOL = LEGACY_TENSORFLOW


def get_protocol(protocol: str | Protocol) -> Protocol:
    """Returns the protocol of that name; a `Protocol` comes back as it is.

    Raises:
      InputError: There is no protocol of that name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol: expected one of {', '.join(PROTOCOLS)}, found {protocol!r}")
    return PROTOCOLS[protocol]
