"""One HTML file that shows a comparison: table, curves, pictures, provenance; it needs nothing else."""

import base64
import dataclasses
import functools
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.metrics.registry import greater_is_better, heading
from jaxfid.preprocessing.protocol import PROTOCOLS
from jaxfid.report.curves import draw_curve
from jaxfid.report.run_folder import Entry, Picture, RunFolder
from jaxfid.report.tables import compare_entries, describe_gap, metric_names
from jaxfid.result import Comparison, Metric

THUMBNAIL_PX = 128

_SMALL_PX = 64  # Up to here images stay as they are, and are shown with square pixels.


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a table shows of one metric of one checkpoint."""

    text: str
    value: float | None
    best: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table, of the grid and of the extremes."""

    identifier: str
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


@dataclasses.dataclass(frozen=True)
class Chart:
    """A metric's curve."""

    name: str
    heading: str
    direction: str
    has_band: bool
    svg: str


def make_page(run: RunFolder, *, now: datetime | None = None) -> str:
    """Returns the page of a run as HTML.

    Args:
      run: The folder of a comparison.
      now: When the page says that it was made; None for the present.

    Raises:
      InputError: Nothing is finished in the folder yet, or a picture is missing.
    """
    entries = run.entries
    if not entries:
        raise InputError(
            f"{run.path}: expected finished checkpoints, found none; run jaxfid compare"
        )
    names, comparisons = metric_names(entries), compare_entries(entries)
    best = {name: _best(entries, name) for name in names}
    main = next((name for name in names if any(m == name for m, _ in comparisons)), None)
    rows = [
        _make_row(number, entry, names, best, main, comparisons)
        for number, entry in enumerate(entries)
    ]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=f"jaxfid: {run.path.resolve().name}",
            names=names,
            shown=[row for row in rows if row.pictures("first")],
            told_apart=[row for row in rows if row.pictures("lowest")],
            headings=[heading(name) for name in names],
            main=None if main is None else heading(main),
            headline=_describe_best(entries, names, best, comparisons),
            warnings=_collect_warnings(entries),
            rows=rows,
            charts=[_make_chart(name, rows) for name in names],
            embed=functools.partial(_embed, run.path / "images"),
            columns=_describe_columns(run),
            reference_pictures=run.reference_pictures,
            facts=_collect_facts(run),
            made=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC by jaxfid {metadata.version('jaxfid')}",
        )
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("jaxfid.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _best(entries: Sequence[Entry], name: str) -> Entry:
    known = [e for e in entries if e.scores is not None and name in e.scores.metrics]
    sign = -1 if greater_is_better(name) else 1
    return min(known, key=lambda entry: sign * _metric(entry, name).value)


def _metric(entry: Entry, name: str) -> Metric:
    assert entry.scores is not None
    return entry.scores.metrics[name]


def _make_row(
    number: int,
    entry: Entry,
    names: Sequence[str],
    best: Mapping[str, Entry],
    main: str | None,
    comparisons: Mapping[tuple[str, str], Comparison],
) -> Row:
    known = {} if entry.scores is None else entry.scores.metrics
    cells = [
        Cell(_show(str(known[n])), known[n].value, entry is best[n])
        if n in known
        else Cell("", None)
        for n in names
    ]
    gap = None
    if main is not None:
        found = comparisons.get((main, entry.name))
        none = Cell("", None) if main not in known else Cell("best", 0.0, True)
        gap = none if found is None else Cell(_show(describe_gap(found)), found.difference)
    return Row(f"row{number}", entry, cells, gap)


def _describe_best(
    entries: Sequence[Entry],
    names: Sequence[str],
    best: Mapping[str, Entry],
    comparisons: Mapping[tuple[str, str], Comparison],
) -> str:
    """The first sentence of the page: which checkpoint, and whether that is sure."""
    if not names:
        return "No checkpoint could be scored."
    name = names[0]
    first = best[name]
    start = _show(f"Checkpoint {first.name} has the best {heading(name)}, {_metric(first, name)}")
    gaps = sorted(
        (gap for (metric, _), gap in comparisons.items() if metric == name),
        key=lambda gap: gap.difference,
    )
    if not gaps:
        return f"{start}."
    if all(gap.conclusive for gap in gaps):
        return f"{start}; its lead over every other one is more than chance."
    close = [gap.other for gap in gaps if not gap.conclusive]
    return f"{start}; its lead over {', '.join(close)} is not more than chance may do."


def _describe_columns(run: RunFolder) -> str:
    if "sampler" in run.identity:
        return "The first images of each checkpoint; a column is of the same noise."
    return "The first images of each set."


def _show(text: str) -> str:
    return text.replace("+-", "\N{PLUS-MINUS SIGN}")


def _collect_warnings(entries: Sequence[Entry]) -> list[str]:
    """What a reader has to know, each once; what holds of every checkpoint without its name."""
    found: dict[str, None] = {}
    for entry in entries:
        for warning in () if entry.scores is None else entry.scores.warnings:
            start = f"{entry.name}: "
            of_all = warning.removeprefix(start)
            found.setdefault(f"each set: {of_all}" if warning.startswith(start) else warning)
    return list(found)


def _make_chart(name: str, rows: Sequence[Row]) -> Chart:
    known = [r for r in rows if r.entry.scores is not None and name in r.entry.scores.metrics]
    entries, identifiers = [row.entry for row in known], [row.identifier for row in known]
    return Chart(
        name=name,
        heading=heading(name),
        direction="more is better" if greater_is_better(name) else "less is better",
        has_band=any(_metric(entry, name).stderr is not None for entry in entries),
        svg=draw_curve(name, entries, point_ids=identifiers),
    )


def _embed(folder: Path, file: str) -> str:
    """A picture as a data URL, reduced where it is large."""
    try:
        image = Image.open(folder / file)
        image.load()
    except OSError as error:
        raise InputError(f"{folder / file}: cannot be read: {error}") from error
    buffer = io.BytesIO()
    if max(image.size) <= _SMALL_PX:
        image.save(buffer, "PNG")
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    image.save(buffer, "WEBP", quality=88)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _collect_facts(run: RunFolder) -> list[tuple[str, list[tuple[str, str]]]]:
    """All that the numbers depend on, in groups of names and values."""
    about = run.about
    reference, protocol = dict(about.get("reference", {})), dict(about.get("protocol", {}))
    environment = dict(about.get("environment", {}))
    versions = environment.pop("versions", {})
    known = PROTOCOLS.get(str(protocol.get("name")))
    if known is not None:
        protocol["means"] = known.description
    for name in ("skipped", "provenance"):
        reference.pop(name, None)
    groups = {
        "Reference": reference,
        "Protocol": protocol,
        "Weights": about.get("weights", {}),
        "What all scores depend on": run.identity,
        "Devices": environment,
        "Versions": versions,
    }
    return [(name, _lines(facts)) for name, facts in groups.items() if facts]


def _lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _in_words(value)) for name, value in facts.items()]


def _in_words(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)
