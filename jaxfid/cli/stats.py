"""The command `stats`."""

import argparse

from jaxfid.cli.options import (
    add_extractor,
    add_settings,
    check_output,
    chosen_settings,
    start_jax,
)
from jaxfid.cli.output import print_line, say_skipped
from jaxfid.cli.processes import is_first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `stats`."""
    parser.add_argument("images", help="images")
    parser.add_argument("-o", "--output", required=True, metavar="STATS.npz")
    parser.add_argument(
        "--metrics",
        choices=("fid", "fid,sfid"),
        metavar="fid[,sfid]",
        help="what they are to serve (default fid)",
    )
    add_settings(parser)
    add_extractor(parser)


def run(options: argparse.Namespace) -> None:
    """Runs `stats`.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    if is_first(options):
        check_output(options.output)
    start_jax(options.compile_cache)
    from jaxfid.evaluate import extract_stats
    from jaxfid.stats.files import save_stats

    stats, extracted = extract_stats(options.images, **chosen_settings(options))
    if is_first(options):
        save_stats(options.output, stats)  # first: a line that cannot be printed costs no result
        say_skipped(extracted.skipped)
        print_line(f"{options.output}: statistics of {stats.count} images")
