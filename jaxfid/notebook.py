"""Objects as HTML for notebooks. Every text is escaped: names come from files."""

import html
from collections.abc import Iterable, Sequence


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Returns a table.

    Args:
      head: The heads of the columns.
      rows: The cells of each row, as many as heads.
      caption: What stands above it.
    """
    lines = [_row(head, "th"), *(_row(row, "td") for row in rows)]
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}{''.join(lines)}</table>"


def make_list(lines: Iterable[str]) -> str:
    """Returns a list with an item for each line; empty where there is none."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _row(cells: Sequence[str], kind: str) -> str:
    inner = "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells)
    return f"<tr>{inner}</tr>"
