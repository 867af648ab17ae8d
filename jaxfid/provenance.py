"""Provenance: the one record of what a number depends on, compared by content.

Statistics, feature files, snapshots, run folders and processes that evaluate together all carry one. Two of
them are compared by `diff`, and every refusal prints what it gives.
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from jaxfid.errors import InputError

COMPARED = ("extractor", "protocol", "input", "choices", "dims", "weights_sha256", "precision")
"""Entries without which two sets of features are not of the same kind."""

_ADDED_LATER = {"input": None, "extractor": "inception"}
"""Entries that files of the first edition lack where the network is the FID's, and what they stand for."""

_SHOWN_DIGITS = 12


class Provenance(Mapping[str, Any]):
    """Names and values that JSON can hold; equal where the content is equal.

    The values are those that come back from JSON: tuples are lists, and keys are text.
    """

    def __init__(self, content: Mapping[str, Any] = {}, /, **more: Any) -> None:  # noqa: ANN401
        """Takes the content; raises InputError where JSON cannot hold it."""
        try:
            self._content = json.loads(json.dumps({**content, **more}, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"provenance: expected what JSON can hold: {error}") from error

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __or__(self, other: Mapping[str, Any]) -> "Provenance":
        return Provenance({**self, **other})

    def __repr__(self) -> str:
        return f"Provenance({self._content})"

    def to_json(self) -> str:
        """Returns the content as JSON text, the same text for the same content."""
        return json.dumps(self._content, sort_keys=True, allow_nan=False)

    def diff(
        self, other: Mapping[str, Any], *, names: Sequence[str] | None = None
    ) -> list[tuple[str, Any, Any]]:
        """Returns every entry that differs: its name, the value here and the value there.

        Args:
          other: The other record.
          names: Which entries to compare; None for all that either has.
        """
        compared = sorted({*self, *other}) if names is None else names
        pairs = ((name, self.get(name), other.get(name)) for name in compared)
        return [(name, here, there) for name, here, there in pairs if here != there]


def diff_features(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Returns every difference that makes two sets of features incomparable, in words.

    Args:
      here: Provenance of one set of features.
      there: Provenance of the other.
    """
    sides = [Provenance({**_ADDED_LATER, **side}) for side in (here, there)]
    unequal = sides[0].diff(sides[1], names=COMPARED)
    # A file that does not tell the content of its rule is compared by the rule's name.
    return [
        describe_difference(name, a, b)
        for name, a, b in unequal
        if name != "input" or None not in (a, b)
    ]


def describe_difference(name: str, here: Any, there: Any) -> str:  # noqa: ANN401
    """Returns one difference in words: `protocol clean against legacy_pytorch`."""
    if isinstance(here, dict) and isinstance(there, dict):
        inner = Provenance(here).diff(there)
        return "; ".join(describe_difference(f"{name} {n}", a, b) for n, a, b in inner)
    return f"{name} {_short(here)} against {_short(there)}"


def describe_change(name: str, was: Any, is_now: Any) -> str:  # noqa: ANN401
    """Returns one change in words: `seed was 0, is 1`."""
    return f"{name} was {_short_json(was)}, is {_short_json(is_now)}"


def _short(value: Any) -> str:  # noqa: ANN401
    text = str(value)
    return f"{text[:_SHOWN_DIGITS]}..." if _is_digest(text) else text


def _short_json(value: Any) -> str:  # noqa: ANN401
    text = json.dumps(value)
    return f'"{value[:_SHOWN_DIGITS]}..."' if isinstance(value, str) and _is_digest(value) else text


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def versions() -> dict[str, str]:
    """Returns the versions of everything that could move a number."""
    packages = ("jaxfid", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow")
    return {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}}


def describe_environment(*, num_processes: int) -> dict[str, Any]:
    """Returns versions and the devices that this process computes on.

    Args:
      num_processes: How many processes evaluate together.
    """
    import jax  # here, so that the command line can print provenance without starting JAX

    devices = jax.local_devices()
    return {
        "versions": versions(),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "num_processes": num_processes,
    }
