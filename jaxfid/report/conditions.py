"""All that the numbers of a comparison depend on, in groups of names and values."""

from collections.abc import Mapping
from typing import Any

from jaxfid.preprocessing.protocol import PROTOCOLS
from jaxfid.report.run_folder import RunFolder

Lines = list[tuple[str, str]]
"""Names and values in words."""

# Too long for a page: lists of files, and what stands under the extractors anyway.
_NOT_SHOWN = ("skipped", "provenance")
_MOST_NESTED = 3


def collect_conditions(run: RunFolder) -> list[tuple[str, Lines]]:
    """Returns the groups with their headings; empty ones are left out."""
    given = run.provenance
    # A copy: `versions` is taken out to have a heading of its own.
    environment = dict(_mapping(given.get("environment")))
    versions = environment.pop("versions", {})
    groups = {
        "Reference": {
            k: v for k, v in _mapping(given.get("reference")).items() if k not in _NOT_SHOWN
        },
        "Protocol": _with_description(_mapping(given.get("protocol"))),
        "Weights": given.get("weights"),
        "Extractors": given.get("extractors"),
        "What all scores depend on": run.identity,
        "Devices": environment,
        "Versions": versions,
    }
    return [(name, _lines(_mapping(values))) for name, values in groups.items() if _mapping(values)]


def _with_description(protocol: Mapping[str, Any]) -> Mapping[str, Any]:
    known = PROTOCOLS.get(str(protocol.get("name")))
    return protocol if known is None else {**protocol, "means": known.description}


def _mapping(value: object) -> Mapping[str, Any]:
    # The folder may come from anywhere, and a damaged one is to be shown as far as it goes.
    return value if isinstance(value, Mapping) else {}


def _lines(values: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Lines:
    lines: Lines = []
    for name, value in values.items():
        called = f"{prefix}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping) and depth < _MOST_NESTED:
            lines += _lines(value, f"{called}: ", depth + 1)
        else:
            lines.append((called, _in_words(value)))
    return lines


def _in_words(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)
