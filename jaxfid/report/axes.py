"""Which quantity lies along the curves of a sweep, and which settings tell curves apart."""

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from jaxfid.report.entries import Entry
from jaxfid.report.row_names import swept_names
from jaxfid.report.swept import show_setting


class Axis(NamedTuple):
    """How the rows of a comparison lie on curves.

    Attributes:
      setting: The setting along the curves; None where that is the step.
      groups: The settings whose combinations are a curve each.
      own_names: Whether checkpoints have curves of their own, as they have no place along them.
    """

    setting: str | None = None
    groups: tuple[str, ...] = ()
    own_names: bool = False

    @property
    def is_swept(self) -> bool:
        """Whether there are several values of any setting."""
        return self.setting is not None or bool(self.groups)

    @property
    def label(self) -> str:
        """What stands below the curves."""
        return self.setting or "step"

    def place(self, entry: Entry) -> float | None:
        """Returns where a row lies along its curve; None where it has no place."""
        if self.setting is None:
            return entry.step
        value = entry.swept.get(self.setting)
        return value if _is_number(value) else None

    def group(self, entry: Entry) -> str:
        """Returns the name of the curve that a row is on."""
        known = [(name, entry.swept[name]) for name in self.groups if name in entry.swept]
        own = [entry.own_name] if self.own_names else []
        return ", ".join([*own, *(f"{name} {show_setting(value)}" for name, value in known)])


def choose_axis(entries: Sequence[Entry]) -> Axis:
    """Returns the axis: steps where there are several, else the setting of most numbers."""
    varying = varying_settings(entries)
    numeric = [n for n in varying if all(_is_number(entry.swept.get(n)) for entry in entries)]
    steps = {entry.step for entry in entries if entry.step is not None}
    if len(steps) > 1 or not numeric:
        return Axis(groups=tuple(varying))
    setting = max(numeric, key=lambda name: len({entry.swept[name] for entry in entries}))
    others = tuple(name for name in varying if name != setting)
    return Axis(setting, others, own_names=len({entry.own_name for entry in entries}) > 1)


def varying_settings(entries: Sequence[Entry]) -> list[str]:
    """Returns the settings that have several values."""
    names = swept_names(entries)
    values = {n: {show_setting(e.swept[n]) for e in entries if n in e.swept} for n in names}
    return [name for name in names if len(values[name]) > 1]


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
