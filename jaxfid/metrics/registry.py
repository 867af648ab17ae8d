"""Every metric by name. A metric is one file of this package with its `MetricSpec` in `SPECS`.

One over several extractors is a `JointSpec` in `JOINT_SPECS`.

Command line, `all`, JSON, tables, headings and directions of the report, and what `--resume` and `compare`
hold equal follow from the spec: nothing else has to be touched.
"""

import dataclasses
import functools
import importlib
import numbers
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jaxfid.metrics
from jaxfid.errors import InputError, did_you_mean
from jaxfid.extraction.image_set import Needs
from jaxfid.extractors.interface import INCEPTION
from jaxfid.metrics.joint import JointSpec
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.result import MetricValue

CHOSEN = "chosen"
"""Stands in a spec for the feature that `dims` chooses."""

DEFAULT = "default"
"""Stands in a spec for the extractor's own default feature: pool3 for Inception, whatever `dims` is."""

ADM_METRICS = ("inception_score", "fid", "sfid", "precision", "recall")
"""What `adm` stands for: ADM's suite in its order."""

_FIRST = ("fd", "sfid", "inception_score", "kd", "precision", "recall", "density", "coverage")
"""The order in which `all` gives the metrics; others follow in the order of their names."""


def check_whole_number(name: str, value: Any, least: int) -> None:  # noqa: ANN401
    """Checks a choice that counts something.

    Raises:
      InputError: It is no whole number, or below the least.
    """
    if not isinstance(value, numbers.Integral):
        raise InputError(f"{name}: expected a whole number, found {value!r}")
    if value < least:
        raise InputError(f"{name}: expected at least {least}, found {value}")


@dataclasses.dataclass(frozen=True)
class MetricOption:
    """A choice that a metric offers; `--kid-subset-size` is the option `kid_subset_size`.

    Attributes:
      name: In Python; the command line writes `-` for `_`.
      default: Its value where nothing is chosen; also tells its type.
      help: One line for people.
      choices: Values that are allowed; empty where any of the type is.
      least: The least number that is allowed.
      adm: Its value where the metrics are `adm`; None for the default.
    """

    name: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    least: int | None = None
    adm: Any = None

    def check(self, value: Any) -> None:  # noqa: ANN401
        """Checks a value.

        Raises:
          InputError: It is none of the choices, no whole number, or too small.
        """
        # Checked here for Python as well: argparse checks the choices of the command line alone.
        if self.choices and value not in self.choices:
            expected = " or ".join(self.choices)
            raise InputError(f"{self.name}: expected {expected}, found {value!r}")
        if self.least is not None:
            check_whole_number(self.name, value, self.least)


@dataclasses.dataclass(frozen=True)
class MetricSpec:
    """The definition of a metric.

    Attributes:
      name: What the metric is called on any extractor; results add the extractor's name.
      compute: From a pair of sets to the number. Raises `InputError` where these sets allow none.
      moments: Features whose mean and covariance it needs of both sets.
      features: Features that it needs image by image, of both sets.
      generated_features: The same of the generated set alone.
      rows: Features of which it needs some rows for its error bar; values come without them as well.
      greater_is_better: The direction.
      heading: How tables head it; None for its name.
      inception_name: Its name on the FID's Inception; None for `name`.
      extractors: Names of the extractors that it is defined on; None for any.
      options: What may be chosen about it.
      why_no_stderr: Why it has no standard error, where it has none.
      prepare: Computes what the first comparison with a reference would compute, ahead of it.
    """

    name: str
    compute: Callable[[SetPair], MetricValue]
    moments: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    generated_features: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    greater_is_better: bool = False
    heading: str | None = None
    inception_name: str | None = None
    extractors: tuple[str, ...] | None = None
    options: tuple[MetricOption, ...] = ()
    why_no_stderr: str | None = None
    prepare: Callable[[PreparedReference], object] = lambda reference: None

    def result_name(self, extractor: str) -> str:
        """Returns what results call it: `fid`, or `fd_` and the name of the extractor."""
        if extractor == INCEPTION:
            return self.inception_name or self.name
        return f"{self.name}_{extractor}"

    def applies_to(self, extractor: str) -> bool:
        """Returns whether it is defined on the features of an extractor."""
        return self.extractors is None or extractor in self.extractors

    def needs(self, chosen: str, default: str) -> tuple[Needs, Needs]:
        """Returns what it needs of the reference, and of a generated set.

        Args:
          chosen: The feature that `dims` chooses.
          default: The extractor's own default feature.
        """
        # A spec is written before anybody chooses an extractor, so it names features by their role.
        real = {CHOSEN: chosen, DEFAULT: default}

        def named(names: Sequence[str]) -> frozenset[str]:
            return frozenset(real.get(name, name) for name in names)

        moments, rows = named(self.moments), named(self.rows)
        return (
            # A Vendi score looks at no reference: its features must not be asked of a statistics file.
            Needs(moments, rows, named(self.features)),
            Needs(moments, rows, named(self.features + self.generated_features)),
        )


def _walk(listed: str) -> Iterator[Any]:
    """Yields what every module of this package lists under that name."""
    # Found and not listed, so that a new metric is one new file.
    for module in pkgutil.walk_packages(jaxfid.metrics.__path__, "jaxfid.metrics."):
        if module.name != __name__:  # this module is being imported
            yield from getattr(importlib.import_module(module.name), listed, ())


@functools.cache
def joint_specs() -> Mapping[str, JointSpec]:
    """Returns every metric over several extractors by name."""
    return {spec.name: spec for spec in _walk("JOINT_SPECS")}


@functools.cache
def metric_specs() -> Mapping[str, MetricSpec]:
    """Returns every metric of one extractor by name, in the order in which `all` gives them."""
    specs = {spec.name: spec for spec in _walk("SPECS")}
    order = {name: place for place, name in enumerate(_FIRST)}
    names = sorted(specs, key=lambda name: (order.get(name, len(order)), name))
    return {name: specs[name] for name in names}


def metric_names(extractor: str = INCEPTION) -> tuple[str, ...]:
    """Returns what a user may call the metrics of an extractor, in the order of `all`."""
    specs = [spec for spec in metric_specs().values() if spec.applies_to(extractor)]
    return tuple(_user_name(spec, extractor) for spec in specs)


def _user_name(spec: MetricSpec, extractor: str) -> str:
    return spec.result_name(extractor) if extractor == INCEPTION else spec.name


def metric_options() -> Mapping[str, MetricOption]:
    """Returns every option of every metric by name."""
    return {o.name: o for spec in metric_specs().values() for o in spec.options}


def split_names(metrics: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Returns the names of metrics, each once; `adm` is written out. None stays None.

    Args:
      metrics: Names, also as one text with commas.

    Raises:
      InputError: There is a name that no metric has on any extractor, or none at all.
    """
    if metrics is None:
        return None
    names = metrics.split(",") if isinstance(metrics, str) else list(metrics)
    specs = metric_specs().values()
    known = {name for spec in specs for name in (spec.name, spec.inception_name)} - {None}
    everything = {*known, *joint_specs(), "all", "adm"}
    unknown = [name for name in names if name not in everything]
    if unknown or not names:
        # Of other extractors' names too, so that `fd` is found for `df`.
        hint = did_you_mean(unknown[0], map(str, everything)) if unknown else ""
        expected = ", ".join(["all", "adm", *metric_names(), *joint_specs()])
        found = ", ".join(map(repr, unknown)) or "none"
        raise InputError(f"metrics: expected names out of {expected}, found {found}{hint}")
    # `all` stays as it is: what it stands for depends on the extractor, which is not known here.
    written_out = (ADM_METRICS if name == "adm" else (name,) for name in names)
    return tuple(dict.fromkeys(name for group in written_out for name in group))


def choose_specs(
    names: Sequence[str] | None, extractors: Sequence[str]
) -> dict[str, list[MetricSpec]]:
    """Returns the metrics of each extractor, in the order asked for.

    A name counts for every extractor that it is defined on. `fid` and `kid` are Inception's alone; `fd` and
    `kd` are of any extractor. Metrics over several extractors are `choose_joint_specs`'.

    Args:
      names: From `split_names`; None for the Frechet distance of each.
      extractors: Names of the networks of the run.

    Raises:
      InputError: A name means nothing on any of them.
    """
    chosen: dict[str, list[MetricSpec]] = {extractor: [] for extractor in extractors}
    for name in names or ("fd",):
        if name in joint_specs():
            continue
        found = [(e, spec) for e in extractors for spec in _specs_named(name, e)]
        if not found:
            raise _not_defined(name, extractors)
        for extractor, spec in found:
            if spec not in chosen[extractor]:  # `fid,fd` names one metric twice
                chosen[extractor].append(spec)
    return chosen


def choose_joint_specs(
    names: Sequence[str] | None, extractors: Sequence[str]
) -> dict[str, JointSpec]:
    """Returns the metrics over several extractors that are asked for, by name.

    Args:
      names: From `split_names`.
      extractors: Names of the networks of the run.

    Raises:
      InputError: The run lacks a network that one of them needs.
    """
    chosen = {name: joint_specs()[name] for name in names or () if name in joint_specs()}
    for spec in chosen.values():
        if missing := [name for name in spec.extractors if name not in extractors]:
            raise InputError(
                f"extractor: {spec.name} needs {', '.join(spec.extractors)}, and {', '.join(missing)} "
                "is missing; leave the option out"
            )
    return chosen


def _specs_named(name: str, extractor: str) -> list[MetricSpec]:
    specs = [spec for spec in metric_specs().values() if spec.applies_to(extractor)]
    if name == "all":
        return specs
    return [
        spec
        for spec in specs
        if name == spec.name or (extractor == INCEPTION and name == spec.inception_name)
    ]


def _not_defined(name: str, extractors: Sequence[str]) -> InputError:
    known = "; ".join(f"{e} has {', '.join(metric_names(e))}" for e in extractors)
    return InputError(f"metrics: {name} is not defined on these features: {known}")


def find_spec(result_name: str) -> MetricSpec | None:
    """Returns the metric that a result calls by this name; None if this version has no such metric."""
    for spec in metric_specs().values():
        if result_name in (spec.name, spec.inception_name):
            return spec
    # The longest first: `fd_infinity_clip_vitb32` begins with `fd` too.
    starts = sorted(metric_specs(), key=len, reverse=True)
    return next((metric_specs()[n] for n in starts if result_name.startswith(f"{n}_")), None)


def heading(result_name: str) -> str:
    """Returns how tables head a metric of a result."""
    if joint := joint_specs().get(result_name):
        return joint.heading or joint.name
    spec = find_spec(result_name)
    if spec is None or result_name not in (spec.name, spec.inception_name):
        return result_name  # of another extractor: its name must not be lost in a heading
    return spec.heading or result_name.capitalize()


def greater_is_better(result_name: str) -> bool:
    """Returns the direction of a metric of a result."""
    spec = joint_specs().get(result_name) or find_spec(result_name)
    return spec is not None and spec.greater_is_better
