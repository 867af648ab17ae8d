"""The command line: arguments in, calls of the facade, lines out. stdout is data, stderr is talk.

Modules that import JAX are imported by the commands that need them, so that `--help` answers at once and
the devices can be chosen before JAX starts.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxfid.cli.compare import add_compare, add_report, run_compare, run_report
from jaxfid.cli.distance import add_distance, run_distance
from jaxfid.cli.options import (
    add_extractor,
    add_metrics,
    add_settings,
    check_writable,
    chosen_settings,
    say,
    start_jax,
)
from jaxfid.cli.processes import is_first, leave_if_joined, run_joined
from jaxfid.errors import JaxfidError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code (0 done, 2 wrong input, 3 no weights, 1 else)."""
    options = _parser().parse_args(arguments)
    try:
        run_joined(options.run, options)
        return 0
    except JaxfidError as error:
        leave_if_joined(options, error)
        say(f"jaxfid: error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("jaxfid: interrupted")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxfid",
        description="Frechet Inception Distance and its family of metrics, in JAX.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    _add_score(_command(commands, "score", _score, "score sets of images against a reference"))
    _add_stats(_command(commands, "stats", _stats, "save the statistics of a set of images"))
    add_compare(
        _command(commands, "compare", run_compare, "compare the checkpoints of a training run")
    )
    add_report(_command(commands, "report", run_report, "show a comparison as one HTML file"))
    add_distance(_command(commands, "distance", run_distance, "compare features of any origin"))
    _add_weights(_command(commands, "weights", _weights_status, "see, fetch or import the weights"))
    _add_demo(_command(commands, "demo", _demo, "score disturbed pictures, and draw the figure"))
    return parser


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", help="images or a statistics file")
    parser.add_argument("generated", nargs="+", help="images or statistics files")
    add_settings(parser)
    add_extractor(parser)
    add_metrics(parser)
    parser.add_argument("--per-class", action="store_true", help="each class by itself as well")
    parser.add_argument("--json", metavar="PATH", help="write the result as JSON; - for stdout")
    parser.add_argument(
        "--verify", action="store_true", help="compute each distance by SciPy's sqrtm as well"
    )
    parser.add_argument(
        "--allow-mismatch",
        action="store_true",
        help="compare statistics made under other settings, with a warning",
    )


def _add_stats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", help="images")
    parser.add_argument("-o", "--output", required=True, metavar="STATS.npz", type=Path)
    parser.add_argument(
        "--metrics", choices=("fid", "fid,sfid"), help="what they are to serve (default fid)"
    )
    add_settings(parser)
    add_extractor(parser)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _command(actions, "status", _weights_status, "say which weights are here")
    _command(actions, "download", _weights_download, "fetch the official weights into the cache")
    imported = _command(actions, "import", _weights_import, "take weights from a file")
    imported.add_argument("path", metavar="PATH", type=Path)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="jaxfid-demo.png", type=Path, metavar="PNG")
    parser.add_argument("--weights", default="auto")


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:  # noqa: ANN401
    parser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.set_defaults(run=run)
    return parser


def _score(options: argparse.Namespace) -> None:
    first = is_first(options)
    if first and options.json and options.json != "-":
        check_writable(Path(options.json))
    start_jax(options.compile_cache)
    from jaxfid.evaluate import compute_metrics
    from jaxfid.per_class import format_classes

    def show(result: Any) -> None:  # noqa: ANN401
        for warning in result.warnings:
            say(f"jaxfid: warning: {warning}")
        for skipped in result.skipped:
            say(f"jaxfid: skipped {skipped['key']}: {skipped['reason']}")
        if options.json != "-":
            print(result, flush=True)
            if result.classes:
                print(format_classes(result))

    shown = {"on_result": show} if first else {}
    result = compute_metrics(
        options.reference,
        options.generated,
        per_class=options.per_class,
        **shown,
        **chosen_settings(options),
    )
    if not first:
        return
    if options.json != "-":
        for comparison in result.comparisons:
            print(comparison)
    if options.json == "-":
        print(result.to_json())
    elif options.json:
        Path(options.json).write_text(result.to_json() + "\n")


def _stats(options: argparse.Namespace) -> None:
    if is_first(options):
        check_writable(options.output)
    start_jax(options.compile_cache)
    from jaxfid.evaluate import compute_sample
    from jaxfid.stats.files import save_stats

    sample = compute_sample(options.images, **chosen_settings(options))
    if not is_first(options):
        return
    save_stats(options.output, sample.all_stats())
    for skipped in sample.skipped:
        say(f"jaxfid: skipped {skipped['key']}: {skipped['reason']}")
    print(f"{options.output}: statistics of {sample.count} images")


def _weights_status(options: argparse.Namespace) -> None:
    from jaxfid.extractors.weights import weights_status

    status = weights_status()
    print(f"auto        {status.environment or status.release.name}")
    print(f"cache       {status.cache_dir}")
    for stored in status.stored:
        print(f"here        {stored.name}  sha256 {stored.sha256}  {stored.path}")
    for damaged in status.damaged:
        print(f"damaged     {damaged}")
    if not any(stored.official for stored in status.stored):
        print(f"not here    {status.release.name}  {status.release.url}")


def _weights_download(options: argparse.Namespace) -> None:
    from jaxfid.extractors.weights import download_weights

    _show_stored(download_weights())


def _weights_import(options: argparse.Namespace) -> None:
    from jaxfid.extractors.weights import import_weights

    _show_stored(import_weights(options.path))


def _show_stored(stored: Any) -> None:  # noqa: ANN401
    kind = "official" if stored.official else "not official: name its path to use it"
    print(f"{stored.path}: {stored.name}, sha256 {stored.sha256} ({kind})")


def _demo(options: argparse.Namespace) -> None:
    start_jax()
    from jaxfid.demo import run_demo

    run_demo(weights=options.weights, figure=options.out, progress=sys.stderr.isatty())
