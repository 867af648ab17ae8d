"""What a user may choose about an evaluation. Imports no JAX, so that the command line can show it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from jaxfid.errors import InputError
from jaxfid.extractors.precision import get_precision
from jaxfid.preprocessing.protocol import DEFAULT_PROTOCOL, Protocol, get_protocol

if TYPE_CHECKING:
    from jaxfid.extractors.feature_network import FeatureNetwork

DIMS = (64, 192, 768, 2048)
"""Feature widths that a Frechet distance may be taken of; 2048 (pool3) is the FID of papers."""

METRICS = (
    "fid",
    "sfid",
    "inception_score",
    "kid",
    "precision",
    "recall",
    "density",
    "coverage",
    "fid_infinity",
)
"""Every metric, in the order in which `all` gives them."""

ADM_METRICS = ("inception_score", "fid", "sfid", "precision", "recall")
"""What `adm` stands for: ADM's suite in its order, the Inception Score split as it splits."""


EXTRACTOR_METRIC = "fd"
"""The Frechet distance of another network's features; results call it `fd_` and the network's name."""


class SettingsDict(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments."""

    protocol: str | Protocol
    dims: int
    extractor: "str | FeatureNetwork | None"
    metrics: str | Sequence[str] | None
    splits: Literal["torch_fidelity", "adm"]
    kid_subset_size: int
    blocks: int
    weights: str | Path
    precision: str
    batch_size: int | None
    num_workers: int
    devices: int | None
    sums: Literal["auto", "device", "host"]
    limit: int | None
    seed: int
    on_error: Literal["fail", "skip"]
    allow_mismatch: bool
    verify: bool
    resume: str | Path | None
    resume_every_s: float
    progress: bool


@dataclasses.dataclass(frozen=True)
class Settings:
    """Choices of an evaluation, checked when they are made.

    Attributes:
      protocol: Resize and scaling: `legacy_tensorflow`, `legacy_pytorch` or `clean`.
      dims: Which features: 64, 192, 768 or 2048 (pool3).
      extractor: A network in place of the FID's: the name of one that jaxfid knows, `module:function`, or a
        `FeatureNetwork`, which it becomes. It brings protocol, dims and weights, which are left out then.
        Only its Frechet distance is computed, under the name `fd_` and the network's: what else there is
        was defined, and its constants chosen, for Inception's features.
      metrics: Names out of `METRICS`, also as one text with commas; "all"; or "adm". None is "fid".
      splits: Whose splits the Inception Score is averaged over; "adm" among the metrics chooses ADM's.
      kid_subset_size: Images in each of the 100 subsets that KID's `subset_mean` and `std` are of.
      blocks: Blocks of images that are left out in turn for the error bar of a Frechet distance; 1 for none.
      weights: "auto" (the user's cache, else a download), "untrained" (seeded noise, for dry runs) or a file.
      precision: `float32`, `tensorfloat32` or `bfloat16`.
      batch_size: Images per step over all devices; None chooses for the devices. No score depends on it.
      num_workers: Decoding threads; 0 decodes in the calling thread.
      devices: How many of this process's devices to use; None for all.
      sums: Where sums of features are kept: "device", "host", or "auto": the host where the devices have no
        float64, as TPUs do not. No score depends on it.
      limit: Score a random subset of so many images; None for all.
      seed: Of that subset.
      on_error: Whether a file that cannot be read ends the evaluation or is left out and listed.
      allow_mismatch: Score statistics against others made otherwise, with a warning instead of an error.
      verify: Compute every Frechet distance by SciPy's matrix square root as well.
      resume: Folder in which each set's progress is kept, so that a killed evaluation goes on where it was;
        None keeps none.
      resume_every_s: Seconds from one such snapshot to the next.
      progress: Show progress bars on stderr.
    """

    protocol: str | Protocol = DEFAULT_PROTOCOL
    dims: int = 2048
    extractor: "str | FeatureNetwork | None" = None
    metrics: str | Sequence[str] | None = None
    splits: Literal["torch_fidelity", "adm"] = "torch_fidelity"
    kid_subset_size: int = 1000
    blocks: int = 10
    weights: str | Path = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    num_workers: int = 2
    devices: int | None = None
    sums: Literal["auto", "device", "host"] = "auto"
    limit: int | None = None
    seed: int = 0
    on_error: Literal["fail", "skip"] = "fail"
    allow_mismatch: bool = False
    verify: bool = False
    resume: str | Path | None = None
    resume_every_s: float = 30.0
    progress: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "protocol", get_protocol(self.protocol))
        get_precision(self.precision)
        self._check_choices()
        names = _split("fid" if self.metrics is None else self.metrics)
        if self.extractor is not None:
            self._take_extractor(self.extractor)
            return
        if "adm" in names:
            object.__setattr__(self, "splits", "adm")
        object.__setattr__(self, "metrics", _expand(names))
        if self.dims not in DIMS:
            raise InputError(
                f"dims: expected one of {', '.join(map(str, DIMS))}, found {self.dims!r}"
            )

    def _take_extractor(self, extractor: "str | FeatureNetwork") -> None:
        """Loads the network, and takes from it what would otherwise be chosen."""
        from jaxfid.extractors.registry import load_network  # starts JAX

        if self.metrics is not None and tuple(_split(self.metrics)) != (EXTRACTOR_METRIC,):
            raise InputError(
                f"metrics: of an extractor's features only {EXTRACTOR_METRIC}, their Frechet distance, is "
                f"computed, found {', '.join(_split(self.metrics))}; leave it out"
            )
        network = load_network(extractor, weights=self.weights, precision=self.precision)
        brought = {"protocol": network.protocol, "dims": network.width}
        for name, value in brought.items():
            if getattr(self, name) not in (getattr(Settings, name), value):
                raise InputError(
                    f"{name}: the extractor {network.name} brings its own; leave it out"
                )
        brought |= {"extractor": network, "metrics": (EXTRACTOR_METRIC,), "weights": "auto"}
        for name, value in brought.items():
            object.__setattr__(self, name, value)

    def _check_choices(self) -> None:
        if self.on_error not in ("fail", "skip"):
            raise InputError(f"on_error: expected fail or skip, found {self.on_error!r}")
        if self.sums not in ("auto", "device", "host"):
            raise InputError(f"sums: expected auto, device or host, found {self.sums!r}")
        if self.splits not in ("torch_fidelity", "adm"):
            raise InputError(f"splits: expected torch_fidelity or adm, found {self.splits!r}")
        least = {
            "kid_subset_size": 2,
            "blocks": 1,
            "batch_size": 1,
            "num_workers": 0,
            "devices": 1,
            "limit": 1,
            "resume_every_s": 0,
        }
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise InputError(f"{name}: expected at least {minimum}, found {value}")


def _split(metrics: str | Sequence[str]) -> Sequence[str]:
    return metrics.split(",") if isinstance(metrics, str) else metrics


def _expand(names: Sequence[str]) -> tuple[str, ...]:
    """The metrics that these names stand for, each once."""
    groups = {"all": METRICS, "adm": ADM_METRICS, **{name: (name,) for name in METRICS}}
    unknown = [name for name in names if name not in groups]
    if unknown or not names:
        raise InputError(f"metrics: expected names out of {', '.join(groups)}, found {list(names)}")
    return tuple(dict.fromkeys(metric for name in names for metric in groups[name]))
