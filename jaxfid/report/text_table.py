"""Tables as text."""

import re
from collections.abc import Iterator, Sequence

TERMINAL_COLUMNS = 80
"""Characters of a line that every terminal shows."""

_GAP = "  "
_NUMBER = re.compile(r"(-?\d+)(?:\.\d+)?(?:e[+-]\d+)?(?=$|[ ,])")

Row = Sequence[str]


def align_columns(rows: Sequence[Row]) -> str:
    """Returns the rows as lines of columns two spaces apart, numbers with their points in line.

    Args:
      rows: The first is the head; all are of one length.
    """
    return "\n".join(_join(row) for row in zip(*map(_align, zip(*rows, strict=True)), strict=True))


def fit_columns(rows: Sequence[Row], width: int = TERMINAL_COLUMNS, *, num_names: int = 1) -> str:
    """Returns the rows as `align_columns` does, in several tables one below the other where need be.

    Each table has the columns of names; a table that holds one more column may still be too wide.

    Args:
      rows: The first is the head; all are of one length.
      width: Characters of a line.
      num_names: How many columns come first that say what a row is.
    """
    columns = [_align(column) for column in zip(*rows, strict=True)]
    tables = _split(columns[:num_names], columns[num_names:], width)
    return "\n\n".join("\n".join(map(_join, zip(*table, strict=True))) for table in tables)


def _split(names: Sequence[Row], others: Sequence[Row], width: int) -> Iterator[list[Row]]:
    table = [*names]
    for column in others:
        # A table of names alone would say nothing, so one more column is always taken.
        if len(table) > len(names) and _width([*table, column]) > width:
            yield table
            table = [*names]
        table.append(column)
    yield table


def _width(columns: Sequence[Row]) -> int:
    return sum(len(column[0]) for column in columns) + len(_GAP) * (len(columns) - 1)


def _align(column: Row) -> list[str]:
    """The cells of a column, all of one width."""
    head, *cells = column
    found = [_NUMBER.match(cell) for cell in cells]
    # Whole parts are filled up on the left, so that the points stand below each other.
    longest = max((len(number[1]) for number in found if number), default=0)
    shifted = [
        " " * (longest - len(number[1])) + cell if number else cell
        for cell, number in zip(cells, found, strict=True)
    ]
    width = max(map(len, (head, *shifted)))
    return [cell.ljust(width) for cell in (head, *shifted)]


def _join(row: Row) -> str:
    return _GAP.join(row).rstrip()
