"""The rows of the page: a checkpoint in the table, in the grid and among the extremes."""

import dataclasses
from collections.abc import Sequence

from jaxfid.report.entries import Entry, Picture
from jaxfid.report.row_names import row_labels, short_names, show_settings, swept_names
from jaxfid.report.tables import (
    Comparisons,
    describe_gap,
    find_best,
    known_metric,
    show_metric,
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """What the table shows of one metric of one checkpoint: `value` is what it is sorted by."""

    text: str
    value: float | None
    best: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table, of the grid and of the extremes.

    Attributes:
      identifier: Of the element on the page.
      name: What tells it from all others.
      label: The same beside columns of its settings.
      settings: Those columns.
      entry: What it shows.
      cells: Its metrics.
      gap: Its difference from the best; None where there is no such column.
    """

    identifier: str
    name: str
    label: str
    settings: Sequence[Cell]
    entry: Entry
    cells: Sequence[Cell]
    gap: Cell | None

    @property
    def is_best(self) -> bool:
        """Whether it is the best in the first metric."""
        return bool(self.cells) and self.cells[0].best

    def pictures(self, kind: str) -> Sequence[Picture]:
        """Returns its pictures of a kind, none where there are none."""
        return self.entry.pictures.get(kind, ())


def make_rows(
    entries: Sequence[Entry], names: Sequence[str], compared: str | None, comparisons: Comparisons
) -> list[Row]:
    """Returns a row for each entry.

    Args:
      entries: The checkpoints.
      names: The metrics of the columns.
      compared: The metric whose differences from the best have a column; None where there is none.
      comparisons: Each one's difference from the best.
    """
    called, labels, swept = short_names(entries), row_labels(entries), swept_names(entries)
    best = {name: _stand_out(entries, name) for name in names}
    return [
        Row(
            f"row{number}",  # an identifier of the page: not the name, which comes from a file
            called[entry.name],
            labels[entry.name],
            [Cell(text, None) for text in show_settings(entry.swept, swept)],
            entry,
            [_make_cell(entry, name, best[name]) for name in names],
            None if compared is None else _make_gap(entry, compared, comparisons),
        )
        for number, entry in enumerate(entries)
    ]


def _stand_out(entries: Sequence[Entry], name: str) -> set[str]:
    """Names of the best ones; none where all are equal, which says nothing."""
    best = {entry.name for entry in find_best(entries, name)}
    known = {entry.name for entry in entries if known_metric(entry, name) is not None}
    return best if len(known) == 1 or best != known else set()


def _make_cell(entry: Entry, name: str, best: set[str]) -> Cell:
    metric = known_metric(entry, name)
    if metric is None:
        return Cell("", None)
    return Cell(show_sign(show_metric(metric)), metric.value, entry.name in best)


def _make_gap(entry: Entry, compared: str, comparisons: Comparisons) -> Cell:
    found = comparisons.get((compared, entry.name))
    if found is not None:
        return Cell(show_sign(describe_gap(found)), found.difference)
    known = known_metric(entry, compared) is not None
    return Cell("best", 0.0, True) if known else Cell("", None)


def show_sign(text: str) -> str:
    """Returns a text with the sign that plain text has no room for."""
    return text.replace("+-", "\N{PLUS-MINUS SIGN}")
