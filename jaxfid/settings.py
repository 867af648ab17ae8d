"""What a user may choose about an evaluation. Imports no JAX, so that the command line can show it."""

import dataclasses
from pathlib import Path
from typing import Literal, TypedDict

from jaxfid.errors import InputError
from jaxfid.inception.precision import get_precision
from jaxfid.protocol import DEFAULT_PROTOCOL, Protocol, get_protocol

DIMS = (64, 192, 768, 2048)
"""Feature widths that a Frechet distance may be taken of; 2048 (pool3) is the FID of papers."""


class SettingsDict(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments."""

    protocol: str | Protocol
    dims: int
    weights: str | Path
    precision: str
    batch_size: int | None
    num_workers: int
    devices: int | None
    limit: int | None
    seed: int
    on_error: Literal["fail", "skip"]
    allow_mismatch: bool
    verify: bool
    progress: bool


@dataclasses.dataclass(frozen=True)
class Settings:
    """Choices of an evaluation, checked when they are made.

    Attributes:
      protocol: Resize and scaling: `legacy_tensorflow`, `legacy_pytorch` or `clean`.
      dims: Which features: 64, 192, 768 or 2048 (pool3).
      weights: "auto" (the user's cache, else a download), "untrained" (seeded noise, for dry runs) or a file.
      precision: `float32`, `tensorfloat32` or `bfloat16`.
      batch_size: Images per step over all devices; None chooses for the devices. No score depends on it.
      num_workers: Decoding threads; 0 decodes in the calling thread.
      devices: How many of this process's devices to use; None for all.
      limit: Score a random subset of so many images; None for all.
      seed: Of that subset.
      on_error: Whether a file that cannot be read ends the evaluation or is left out and listed.
      allow_mismatch: Score statistics against others made otherwise, with a warning instead of an error.
      verify: Compute every Frechet distance by SciPy's matrix square root as well.
      progress: Show progress bars on stderr.
    """

    protocol: str | Protocol = DEFAULT_PROTOCOL
    dims: int = 2048
    weights: str | Path = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    num_workers: int = 2
    devices: int | None = None
    limit: int | None = None
    seed: int = 0
    on_error: Literal["fail", "skip"] = "fail"
    allow_mismatch: bool = False
    verify: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "protocol", get_protocol(self.protocol))
        get_precision(self.precision)
        if self.dims not in DIMS:
            raise InputError(
                f"dims: expected one of {', '.join(map(str, DIMS))}, found {self.dims!r}"
            )
        if self.on_error not in ("fail", "skip"):
            raise InputError(f"on_error: expected fail or skip, found {self.on_error!r}")
        least = {"batch_size": 1, "num_workers": 0, "devices": 1, "limit": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise InputError(f"{name}: expected at least {minimum}, found {value}")
