"""The command `compare`: from checkpoints to a table."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from jaxfid.checkpoints.watch import Watch
from jaxfid.cli.logs import add_logs, check_logs, open_logs
from jaxfid.cli.options import (
    add_extractor,
    add_metrics,
    add_settings,
    chosen_settings,
    start_jax,
)
from jaxfid.cli.output import print_line, say
from jaxfid.cli.processes import is_first
from jaxfid.cli.sampler_options import NAMES, add_sampler_options, chosen_sampler_options
from jaxfid.errors import InputError, JaxfidError
from jaxfid.preprocessing.value_range import VALUE_RANGES

NAMED_RANGES = {f"{low:g}..{high:g}": (low, high) for low, high in VALUE_RANGES}

_OF_CHECKPOINTS = ("sampler", *NAMES, "value_range", "watch", "fail_fast")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `compare`."""
    parser.set_defaults(check=_check)
    parser.add_argument("reference", help="images or a statistics file")
    _add_sets(parser)
    parser.add_argument(
        "--fail-fast",
        action="store_const",
        const=True,
        help="end at the first checkpoint that cannot be sampled",
    )
    parser.add_argument("--out", required=True, metavar="RUN", help="folder of the results")
    add_logs(parser)
    _add_watch(parser)
    add_metrics(parser)
    add_settings(parser)
    add_extractor(parser)


def _add_sets(parser: argparse.ArgumentParser) -> None:
    sets = parser.add_argument_group("what is compared")
    add = sets.add_argument
    add("--sampler", metavar="MODULE:FUNCTION", help="function(checkpoint_path) -> sample(key, n)")
    add(
        "--checkpoints",
        nargs="+",
        metavar="PATH",
        help="folders of checkpoints, or checkpoints; several folders are runs of one model, "
        "matched by step (also as a quoted pattern, 'runs/seed*')",
    )
    add("--samples", nargs="+", metavar="PATH", help="instead: sets that were sampled before")
    add_sampler_options(add)
    add("--value-range", choices=NAMED_RANGES, help="of floating images (=-1..1 with the sign)")
    add("--step-pattern", metavar="REGEX", help="finds the step in names: its first group")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action="store_const", const=True, help="go on as checkpoints are written"
    )
    parser.add_argument(
        "--watch-timeout",
        type=float,
        default=Watch.timeout_s,
        metavar="SECONDS",
        help="end when no checkpoint has come for so long (default %(default)g)",
    )
    parser.add_argument(
        "--watch-poll",
        type=float,
        default=Watch.poll_s,
        metavar="SECONDS",
        help="how often to look, and how long a checkpoint must not change (default %(default)g)",
    )


def run(options: argparse.Namespace) -> None:
    """Runs `compare`: a line for each checkpoint as it is finished, then the table.

    Raises:
      InputError: The options do not go together, or an input is not what it should be.
      JaxfidError: A checkpoint could not be scored; the table is written nevertheless.
    """
    first = is_first(options)
    on_entry = _make_reporter(open_logs(options)) if first else lambda entry: None
    start_jax(options.compile_cache)
    from jaxfid.report.model_table import format_tables
    from jaxfid.report.run_folder import RunFolder

    try:
        entries = _compare(options, on_entry)
    except KeyboardInterrupt:  # how people end --watch: what is finished is worth its table
        if first:
            print_line(format_tables(RunFolder(options.out).entries))
        raise
    if options.watch and first:  # so that a script that goes on knows why
        say(f"jaxfid: ended after {options.watch_timeout:g} s without a new checkpoint")
    if first:
        print_line(format_tables(entries))
    # After the table: the others were scored, and exit code 1 tells a script that some were not.
    failed = [entry for entry in entries if entry.scores is None]
    if failed:
        raise JaxfidError("; ".join(str(entry.failure) for entry in failed))


def _compare(options: argparse.Namespace, on_entry: Callable[[Any], None]) -> Any:  # noqa: ANN401
    from jaxfid.checkpoints.compare import compare_checkpoints, compare_samples

    named = {"out": options.out, "step_pattern": options.step_pattern, "on_entry": on_entry}
    settings = {**named, **chosen_settings(options)}
    if options.samples:
        return compare_samples(options.reference, options.samples, **settings)
    poll_s = options.watch_poll
    watch = Watch(timeout_s=options.watch_timeout, poll_s=poll_s, settle_s=poll_s)
    return compare_checkpoints(
        options.reference,
        options.checkpoints,
        options.sampler,
        value_range=NAMED_RANGES.get(options.value_range),
        watch=watch if options.watch else None,
        fail_fast=bool(options.fail_fast),
        **chosen_sampler_options(options),
        **settings,
    )


def _check(options: argparse.Namespace) -> None:
    if bool(options.samples) == bool(options.checkpoints):
        raise InputError("expected either --checkpoints with --sampler, or --samples")
    if options.checkpoints and not options.sampler:
        raise InputError("sampler: expected module:function beside --checkpoints, found none")
    if options.samples:
        other = [name for name in _OF_CHECKPOINTS if getattr(options, name) is not None]
        if other:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in other)
            raise InputError(f"{names}: these are for --checkpoints, not for --samples")
    elif options.limit is not None:
        raise InputError("limit: expected --num-images beside --checkpoints, found --limit")
    check_logs(options)


def _make_reporter(logs: Sequence[Callable[[Any], None]]) -> Callable[[Any], None]:
    """What is done with each entry: lines for people, scalars for the logs."""
    said: set[str] = set()

    def report(entry: Any) -> None:  # noqa: ANN401
        for warning in () if entry.scores is None else entry.scores.warnings:
            without_name = warning.removeprefix(entry.name)  # what holds for all is said once
            if without_name not in said:
                said.add(without_name)
                say(f"jaxfid: warning: {warning}")
        line = entry.scores if entry.scores is not None else f"no score: {entry.failure}"
        say(f"{line} in {entry.seconds:.1f} s")
        for write in logs:
            write(entry)

    return report
