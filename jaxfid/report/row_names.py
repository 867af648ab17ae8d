"""What tables call the rows of a comparison: short names, settings, steps."""

import os
import re
from collections.abc import Iterator, Sequence

from jaxfid.report.entries import Entry
from jaxfid.report.printable import printable
from jaxfid.report.swept import Swept, name_row, show_setting

_ENDINGS = re.compile(r"\.(?:msgpack|safetensors|eqx|npz)$")


def short_names(entries: Sequence[Entry]) -> dict[str, str]:
    """Returns how tables call the checkpoints: without endings and the folder of all runs.

    What would make two names one stays.
    """
    short = {entry.name: stem + draw for entry, stem, draw in _short_parts(entries)}
    whole = {entry.name: printable(entry.name) for entry in entries}
    return short if len({*short.values()}) == len(short) else whole


def row_labels(entries: Sequence[Entry]) -> dict[str, str]:
    """Returns how tables call the checkpoints where settings have columns of their own."""
    called = short_names(entries)
    return {
        e.name: called[e.name].removesuffix(printable(name_row("", e.swept, e.noise_seed)))
        + name_row("", {}, e.noise_seed)
        for e in entries
    }


def _short_parts(entries: Sequence[Entry]) -> Iterator[tuple[Entry, str, str]]:
    """Each entry with the short name of its checkpoint, and with what tells its row from others of that."""
    folder = _common_folder(entries)
    for entry in entries:
        draw = name_row("", entry.swept, entry.noise_seed)
        stem = entry.name.removesuffix(draw).removeprefix(folder)
        yield entry, printable(_ENDINGS.sub("", stem)), printable(draw)


def swept_names(entries: Sequence[Entry]) -> list[str]:
    """Returns the settings of a sweep, in the order in which they were asked for."""
    return list(dict.fromkeys(name for entry in entries for name in entry.swept))


def show_settings(swept: Swept, names: Sequence[str]) -> list[str]:
    """Returns the cells of a row; empty where it has no such setting."""
    return [printable(show_setting(swept[name])) if name in swept else "" for name in names]


def _common_folder(entries: Sequence[Entry]) -> str:
    """The folder that holds all runs, with a slash; empty where there are not several."""
    runs = {entry.run for entry in entries if entry.run is not None}
    # Not `commonpath`, which refuses a mixture of paths and URLs.
    shared = os.path.commonprefix(list(runs))  # noqa: RUF071
    folder, slash, _ = shared.rpartition("/")
    return folder + slash if len(runs) > 1 else ""


def has_step_column(entries: Sequence[Entry]) -> bool:
    """Returns whether a step is known that its checkpoint's name does not show."""
    return any(
        entry.step is not None
        and entry.step not in {int(digits) for digits in re.findall(r"\d{1,30}", entry.own_name)}
        for entry in entries
    )


def label_rows(entries: Sequence[Entry]) -> list[list[str]]:
    """Returns the columns that say what each row is, with their head."""
    called, swept = row_labels(entries), swept_names(entries)
    labels = [
        ["checkpoint", *map(printable, swept)],
        *([called[entry.name], *show_settings(entry.swept, swept)] for entry in entries),
    ]
    # Most names are made of the step; beside these a column of steps would say everything twice.
    if has_step_column(entries):
        labels[0].insert(1, "step")
        for label, entry in zip(labels[1:], entries, strict=True):
            label.insert(1, "" if entry.step is None else str(entry.step))
    return labels
