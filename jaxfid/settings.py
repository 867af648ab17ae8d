"""What a user may choose about an evaluation. No network is loaded and no file is read by choosing."""

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from jaxfid.errors import InputError
from jaxfid.extractors.interface import INCEPTION, Extractor
from jaxfid.extractors.precision import PrecisionName, get_precision
from jaxfid.metrics.joint import JointSpec
from jaxfid.metrics.registry import (
    check_whole_number,
    joint_specs,
    metric_options,
    split_names,
)
from jaxfid.preprocessing.crop import parse_crop
from jaxfid.preprocessing.protocol import Protocol, ProtocolName, get_protocol

DIMS = (64, 192, 768, 2048)
"""Widths of Inception's features that a Frechet distance may be of. 2048 (pool3) is the FID of papers."""

Weights = str | os.PathLike[str]


class SettingsDict(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments."""

    protocol: ProtocolName | Protocol | None
    dims: int
    extractor: str | Extractor | Sequence[str | Extractor] | None
    weights: Weights | Mapping[str, Weights]
    precision: PrecisionName
    crop: str | None
    image_key: str | None
    limit: int | None
    seed: int
    xflip: bool
    on_error: Literal["fail", "skip"]
    metrics: str | Sequence[str] | None
    splits: Literal["torch_fidelity", "adm"]
    isc_splits: int
    kid_subset_size: int
    kid_subsets: int
    kid_order: Literal["reference-first", "generated-first"]
    prc_k: int
    allow_mismatch: bool
    verify: bool
    blocks: int
    batch_size: int | None
    num_workers: int | None
    devices: int | None
    sums: Literal["auto", "device", "integer", "host"]
    resume: str | os.PathLike[str] | None
    resume_every_s: float
    resume_strict: bool
    progress: bool


class OpeningDict(TypedDict):
    """Keyword arguments of `open_image_set`."""

    limit: int | None
    seed: int
    image_key: str | None
    xflip: bool


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """What the features of a set depend on.

    Attributes:
      extractors: Networks: names that jaxfid knows, `module:function`, or `Extractor`s.
      protocol: The input rule; None for each network's own.
      dims: Which of Inception's features the Frechet distance is of: 64, 192, 768 or 2048 (pool3).
      weights: "auto" (the user's cache, else a download), "untrained" (seeded noise, for dry runs) or a file;
        of every network, or of each by its name.
      precision: `float32`, `tensorfloat32` or `bfloat16`.
      crop: Cut every image before its input rule: `adm:SIZE` as ADM's references were made, or `center` for
        the largest square. None cuts nothing.
      image_key: Which image of a sample is meant, where a set has several of each: the ending of its name
        after the first dot, such as `left.png`.
      limit: Score a random subset of so many images; None for all.
      seed: Of that subset.
      xflip: Take each image of the reference and its mirror image, as StyleGAN's mirrored data sets.
      on_error: Whether a file that cannot be read ends the evaluation or is left out and listed.
    """

    extractors: tuple[str | Extractor, ...] = (INCEPTION,)
    protocol: Protocol | None = None
    dims: int = 2048
    weights: Weights | Mapping[str, Weights] = "auto"
    precision: str = "float32"
    crop: str | None = None
    image_key: str | None = None
    limit: int | None = None
    seed: int = 0
    xflip: bool = False
    on_error: Literal["fail", "skip"] = "fail"

    def opening(self, *, reference: bool = False) -> OpeningDict:
        """Returns what an image set is opened with.

        Args:
          reference: Whether it is what others are scored against.
        """
        return {
            "limit": self.limit,
            "seed": self.seed,
            "image_key": self.image_key,
            "xflip": self.xflip and reference,
        }

    def weights_of(self, name: str) -> str:
        """Returns the weights that a network is loaded with."""
        if isinstance(self.weights, Mapping):
            return os.fspath(self.weights.get(name, "auto"))
        return os.fspath(self.weights)


@dataclasses.dataclass(frozen=True)
class MetricSettings:
    """What is computed of the features.

    Attributes:
      names: Names of metrics, "all" among them; None for the Frechet distance of each network.
      options: The options of all metrics by name.
      allow_mismatch: Score statistics against others made otherwise, with a warning instead of an error.
      verify: Compute every Frechet distance by SciPy's matrix square root as well.
    """

    names: tuple[str, ...] | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    allow_mismatch: bool = False
    verify: bool = False


@dataclasses.dataclass(frozen=True)
class RuntimeSettings:
    """How the work is done. No score depends on it.

    Attributes:
      batch_size: Images per step over all devices; None chooses for the devices.
      num_workers: Decoding threads; None is one for each core that this process may use, and 0 decodes in
        the calling thread.
      devices: How many of this process's devices to use; None for all.
      sums: How sums of features are kept: in float64 on the "device", in whole numbers there ("integer"), on
        the "host", or "auto": in whole numbers where the devices have no float64, as TPUs do not.
      resume: Folder in which each set's progress is kept, so that a killed evaluation goes on where it was;
        None keeps none.
      resume_every_s: Seconds from one snapshot to the next.
      resume_strict: Know a set again by every byte of its images, not by size, time and samples.
      progress: Show on stderr how far the work is: bars on a terminal or in a notebook, else a line every
        30 s.
    """

    batch_size: int | None = None
    num_workers: int | None = None
    devices: int | None = None
    sums: Literal["auto", "device", "integer", "host"] = "auto"
    resume: str | None = None
    resume_every_s: float = 30.0
    resume_strict: bool = False
    progress: bool = False


_LEAST = {"batch_size": 1, "num_workers": 0, "devices": 1, "limit": 1, "seed": 0, "blocks": 1}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "extractor": (str, Extractor, Sequence),
    "weights": (str, os.PathLike, Mapping),
    "crop": (str,),
    "image_key": (str,),
    "metrics": (str, Sequence),
    "resume": (str, os.PathLike),
}
"""Where anything else would end in an error of Python's that does not name the argument."""
_CHOICES = {"on_error": ("fail", "skip"), "sums": ("auto", "device", "integer", "host")}


class Settings:
    """All choices of an evaluation in three parts, checked when they are made.

    Attributes:
      features: What the features depend on.
      metrics: What is computed of them.
      runtime: How the work is done.
    """

    def __init__(self, **choices: Unpack[SettingsDict]) -> None:
        """Takes the fields of the three parts, and the options of the metrics, by name.

        Args:
          **choices: `extractor` is one network or several; `metrics` are names, also as one text with commas,
            "all", or "adm" (ADM's suite, the Inception Score split as ADM splits); None is the Frechet
            distance. `blocks` is ignored, as error bars need none any more.

        Raises:
          InputError: There is no such choice, or its value is not allowed.
        """
        given: dict[str, Any] = dict(choices)
        # Before anything is resolved, so that a message speaks of what the user wrote.
        _check(given)
        if given.pop("blocks", None) is not None:
            message = "blocks: ignored, error bars come from single images now; leave it out"
            warnings.warn(message, DeprecationWarning, stacklevel=3)
        for name, value in _resolve(given).items():
            given[name] = value
        self.features = FeatureSettings(**_fields_of(FeatureSettings, given))
        self.metrics = MetricSettings(**_fields_of(MetricSettings, given))
        self.runtime = RuntimeSettings(**_fields_of(RuntimeSettings, given))

    def __repr__(self) -> str:
        return f"Settings({self.features}, {self.metrics}, {self.runtime})"


def _fields_of(part: type, given: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: given[f.name] for f in dataclasses.fields(part) if f.name in given}


def _check(given: Mapping[str, Any]) -> None:
    """Checks names and ranges, each with a message of its own."""
    options = metric_options()
    unknown = sorted(set(given) - set(SettingsDict.__annotations__) - set(options))
    if unknown:  # a mistake in a program, as Python itself would report it
        raise TypeError(f"unexpected keyword arguments: {', '.join(unknown)}")
    for name, option in options.items():
        if name in given:
            option.check(given[name])
    for name, kinds in _KINDS.items():
        value = given.get(name)
        if value is not None and not isinstance(value, kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise InputError(f"{name}: expected {expected}, found {value!r}")
    for name, allowed in _CHOICES.items():
        if name in given and given[name] not in allowed:
            expected = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
            raise InputError(f"{name}: expected {expected}, found {given[name]!r}")
    for name, least in _LEAST.items():
        # None means "chosen for you", but of the seed: a subset that nobody can draw again is no use.
        if name in given and (given[name] is not None or name == "seed"):
            check_whole_number(name, given[name], least)
    every_s = given.get("resume_every_s", 0)
    # Not `every_s < 0`: NaN is no number of seconds either.
    if not (isinstance(every_s, int | float) and every_s >= 0):
        raise InputError(f"resume_every_s: expected at least 0, found {every_s!r}")
    if given.get("dims", 2048) not in DIMS:
        expected = ", ".join(map(str, DIMS))
        raise InputError(f"dims: expected one of {expected}, found {given['dims']!r}")
    # These two raise an error of their own for a name that is not known.
    get_precision(given.get("precision", "float32"))
    if given.get("crop") is not None:
        parse_crop(given["crop"])


def _resolve(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of the parts that are not what the user wrote."""
    metrics, protocol = given.get("metrics"), given.get("protocol")
    resume, names = given.get("resume"), split_names(metrics)
    extractors = given.get("extractor")
    for joint in [joint_specs()[name] for name in names or () if name in joint_specs()]:
        protocol = _joint_protocol(joint, names or (), protocol, given.get("dims"))
        extractors = extractors or joint.extractors
    return {
        "extractors": _split_extractors(extractors),
        "protocol": None if protocol is None else get_protocol(protocol),
        "names": names,
        "options": _choose_options(given, adm=_asks_for_adm(metrics)),
        "resume": None if resume is None else os.fspath(resume),
    }


def _joint_protocol(
    joint: JointSpec, names: Sequence[str], protocol: str | Protocol | None, dims: int | None
) -> str | Protocol:
    """Returns the input rule of a metric over several extractors, which is its own."""
    others = [name for name in names if name not in joint_specs()]
    if protocol is None and others:
        raise InputError(
            f"protocol: {joint.name} is under the input rule {joint.protocol}, and so would be "
            f"{', '.join(others)}: say protocol {joint.protocol}, or ask for {joint.name} alone"
        )
    if protocol is not None and get_protocol(protocol).name != joint.protocol:
        found = get_protocol(protocol).name
        raise InputError(f"protocol: {joint.name} is under {joint.protocol}, found {found}")
    if dims not in (None, 2048):
        raise InputError(f"dims: {joint.name} is of each network's own features, found {dims}")
    return protocol or joint.protocol


def _split_extractors(
    extractor: str | Extractor | Sequence[str | Extractor] | None,
) -> tuple[str | Extractor, ...]:
    if extractor is None:
        return (INCEPTION,)
    if isinstance(extractor, Extractor):
        return (extractor,)
    names = tuple(extractor.split(",") if isinstance(extractor, str) else extractor)
    if not names:
        raise InputError("extractor: expected one network or several, found none")
    return names


def _asks_for_adm(metrics: str | Sequence[str] | None) -> bool:
    return "adm" in (metrics.split(",") if isinstance(metrics, str) else metrics or ())


def _choose_options(given: Mapping[str, Any], *, adm: bool) -> dict[str, Any]:
    """Returns every option of every metric; what the user gave counts more than what `adm` asks for."""

    def default(name: str) -> Any:  # noqa: ANN401
        option = metric_options()[name]
        return option.adm if adm and option.adm is not None else option.default

    return {name: given.get(name, default(name)) for name in metric_options()}
