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
from jaxfid.metrics.registry import heading
from jaxfid.report.charts import make_chart
from jaxfid.report.conditions import collect_conditions
from jaxfid.report.embed import embed_picture
from jaxfid.report.headline import (
    collect_warnings,
    describe_best,
    describe_best_model,
    describe_conditions,
    first_metric,
    is_unofficial,
)
from jaxfid.report.heat_map import make_heat_map
from jaxfid.report.model_table import model_rows
from jaxfid.report.models import Model, compare_models, find_models
from jaxfid.report.printable import printable
from jaxfid.report.row_names import has_step_column, swept_names
from jaxfid.report.rows import Row, make_rows, show_sign
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.tables import (
    Comparisons,
    compare_entries,
    format_csv,
    metric_names,
)

_MOST_ROWS = 24
"""Of a table that is shown whole; a longer one scrolls, so that what is below it is found."""


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
    names, models = metric_names(entries), find_models(entries)
    comparisons = compare_models(models, names) if models else compare_entries(entries)
    # Of single draws of a model, the best is best by luck: replicates are compared instead.
    compared = None if models else _first_compared(names, comparisons)
    rows = make_rows(entries, names, compared, comparisons)
    environment = _environment()
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html.jinja").render(
        policy=_policy(script),
        script=Markup(script),
        title=f"jaxfid: {run.path.name}",
        conditions=describe_conditions(run.provenance),
        headline=show_sign(_describe_outcome(run, models, comparisons)),
        warnings=collect_warnings(entries),
        names=names,
        headings=[heading(name) for name in names],
        compared=None if compared is None else heading(compared),
        with_steps=has_step_column(entries),
        swept=swept_names(entries),
        most_rows=_MOST_ROWS,
        rows=rows,
        model_rows=[[show_sign(cell) for cell in row] for row in model_rows(entries)],
        csv=base64.b64encode(format_csv(entries).encode()).decode(),
        charts=[
            chart
            for i, name in enumerate(names)
            if (chart := make_chart(i, name, rows, models)) is not None
        ],
        heat_maps=[
            found for name in names if (found := make_heat_map(name, entries, models)) is not None
        ],
        shown=[row for row in _of_first_noise(rows) if row.pictures("first")],
        told_apart=[row for row in rows if row.pictures("lowest")],
        embed=functools.cache(functools.partial(embed_picture, run)),
        columns=_describe_columns(run, rows),
        reference_pictures=run.reference_pictures,
        groups=collect_conditions(run),
        made=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC by jaxfid {metadata.version('jaxfid')}",
    )


def _first_compared(names: Sequence[str], comparisons: Comparisons) -> str | None:
    return next((name for name in names if any(m == name for m, _ in comparisons)), None)


def _describe_outcome(run: RunFolder, models: Sequence[Model], comparisons: Comparisons) -> str:
    unofficial = is_unofficial(run.provenance)
    name = first_metric(run.entries)
    if models and name is not None:
        return describe_best_model(models, comparisons, name, unofficial=unofficial)
    return describe_best(run.entries, comparisons, unofficial=unofficial)


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


def _of_first_noise(rows: Sequence[Row]) -> list[Row]:
    """A checkpoint's draws look alike, so that one of each is shown."""
    first = _first_noise_seed(rows)
    if first is None:
        return list(rows)
    shown = [row for row in rows if row.entry.noise_seed == first]
    return [dataclasses.replace(r, name=r.name.removesuffix(f" noise {first}")) for r in shown]


def _first_noise_seed(rows: Sequence[Row]) -> int | None:
    seeds = [row.entry.noise_seed for row in rows if row.entry.noise_seed is not None]
    return min(seeds, default=None)


def _describe_columns(run: RunFolder, rows: Sequence[Row]) -> str:
    if (seed := _first_noise_seed(rows)) is not None:
        return f"The first images drawn from noise seed {seed}; a column is of the same noise."
    if "sampler" in run.identity:
        return "The first images of each checkpoint; a column is of the same noise."
    return "The first images of each set."
