"""One HTML file that shows a comparison: table, curves, pictures, conditions; it needs nothing else."""

import base64
import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata

import jinja2
from markupsafe import Markup

from jaxfid.errors import InputError
from jaxfid.metrics.registry import greater_is_better, heading
from jaxfid.report.conditions import collect_conditions
from jaxfid.report.curves import BAND_STDERRS, Point, draw_curve
from jaxfid.report.embed import embed_picture
from jaxfid.report.entries import Entry, Picture
from jaxfid.report.headline import (
    collect_warnings,
    describe_best,
    describe_conditions,
    is_unofficial,
)
from jaxfid.report.printable import printable
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.tables import (
    Comparisons,
    compare_entries,
    describe_gap,
    find_best,
    format_csv,
    has_step_column,
    known_metric,
    metric_names,
    short_names,
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
    """A line of the table, of the grid and of the extremes."""

    identifier: str
    name: str
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

    identifier: str
    column: int
    heading: str
    direction: str
    band: str
    svg: Markup


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
    compared = next((name for name in names if any(m == name for m, _ in comparisons)), None)
    rows = _make_rows(entries, names, compared, comparisons)
    environment = _environment()
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html.jinja").render(
        policy=_policy(script),
        script=Markup(script),
        title=f"jaxfid: {run.path.name}",
        conditions=describe_conditions(run.provenance),
        headline=_show(
            describe_best(entries, comparisons, unofficial=is_unofficial(run.provenance))
        ),
        warnings=collect_warnings(entries),
        names=names,
        headings=[heading(name) for name in names],
        compared=None if compared is None else heading(compared),
        with_steps=has_step_column(entries),
        rows=rows,
        csv=base64.b64encode(format_csv(entries).encode()).decode(),
        charts=[c for i, name in enumerate(names) if (c := _make_chart(i, name, rows)) is not None],
        shown=[row for row in rows if row.pictures("first")],
        told_apart=[row for row in rows if row.pictures("lowest")],
        embed=functools.cache(functools.partial(embed_picture, run)),
        columns=_describe_columns(run),
        reference_pictures=run.reference_pictures,
        groups=collect_conditions(run),
        made=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC by jaxfid {metadata.version('jaxfid')}",
    )


def _environment() -> jinja2.Environment:
    """The one place where text out of files is escaped: every value of every template goes through it."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("jaxfid.report"),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalize(value: object) -> object:
    # Not printable are, among others, lone surrogates, which no page could be written with.
    return printable(value) if type(value) is str else value


def _policy(script: str) -> str:
    """The page's security policy: nothing is fetched, and of scripts only its own runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _make_rows(
    entries: Sequence[Entry], names: Sequence[str], compared: str | None, comparisons: Comparisons
) -> list[Row]:
    called = short_names(entries)
    best = {name: _stand_out(entries, name) for name in names}
    return [
        Row(
            f"row{number}",
            called[entry.name],
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
    return Cell(_show(show_metric(metric)), metric.value, entry.name in best)


def _make_gap(entry: Entry, compared: str, comparisons: Comparisons) -> Cell:
    found = comparisons.get((compared, entry.name))
    if found is not None:
        return Cell(_show(describe_gap(found)), found.difference)
    known = known_metric(entry, compared) is not None
    return Cell("best", 0.0, True) if known else Cell("", None)


def _make_chart(column: int, name: str, rows: Sequence[Row]) -> Chart | None:
    known = [point for row in rows if (point := _make_point(row, name)) is not None]
    if not known:
        return None
    # A checkpoint called `best` has no place on a curve over steps.
    stepped = [point for point in known if point.step is not None]
    points = stepped if len(stepped) > 1 else known
    # Not the metric's name: identifiers of the page are made of nothing out of a file.
    identifier = f"chart{column}"
    return Chart(
        identifier=identifier,
        column=column,
        heading=heading(name),
        direction="more is better" if greater_is_better(name) else "less is better",
        band=_describe_band(points, left_out=len(known) - len(points)),
        svg=draw_curve(points, prefix=identifier),
    )


def _make_point(row: Row, name: str) -> Point | None:
    metric = known_metric(row.entry, name)
    if metric is None or metric.value is None:
        return None
    return Point(
        row.identifier, row.name, row.entry.step, metric.value, metric.stderr, row.entry.run
    )


def _describe_band(points: Sequence[Point], *, left_out: int) -> str:
    end = f"; {left_out} without a step left out" if left_out else ""
    if len({point.run for point in points}) > 1:
        return f"; the legend names the band{end}"
    known = any(point.stderr for point in points)
    return f"; band \N{PLUS-MINUS SIGN} {BAND_STDERRS} standard errors{end}" if known else end


def _describe_columns(run: RunFolder) -> str:
    if "sampler" in run.identity:
        return "The first images of each checkpoint; a column is of the same noise."
    return "The first images of each set."


def _show(text: str) -> str:
    return text.replace("+-", "\N{PLUS-MINUS SIGN}")
