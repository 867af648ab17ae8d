"""Warnings of several sets, each said once."""

from collections.abc import Iterable, Sequence

from jaxfid.cli.output import say
from jaxfid.images.interface import name_some


class Warned:
    """Says what holds for all sets at once, and at the end what holds for some, with their names.

    Args:
      names: The sets, as warnings call them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(names))
        self._said: set[str] = set()
        self._of_sets: dict[str, list[str]] = {}

    def take(self, warnings: Sequence[str]) -> None:
        """Takes the warnings of one set."""
        for warning in warnings:
            name = next((name for name in self._names if warning.startswith(f"{name}: ")), None)
            if name is not None:
                names = self._of_sets.setdefault(warning.removeprefix(f"{name}: "), [])
                # The reference's come again with every set.
                if name not in names:
                    names.append(name)
            elif warning not in self._said:
                self._said.add(warning)
                say(f"jaxfid: warning: {warning}")

    def finish(self) -> None:
        """Says what is left."""
        for text, names in self._of_sets.items():
            say(f"jaxfid: warning: {name_some(names)}: {text}")
        self._of_sets = {}
