"""The command `stats`."""

import argparse

from jaxfid.cli.saving import add_saving, extract_and_save, start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `stats`."""
    add_saving(parser, output="STATS.npz")
    parser.add_argument(
        "--metrics",
        choices=("fid", "fid,sfid"),
        metavar="fid[,sfid]",
        help="what they are to serve (default fid)",
    )


def run(options: argparse.Namespace) -> None:
    """Runs `stats`.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    start(options)
    from jaxfid.evaluate import extract_stats
    from jaxfid.stats.files import save_stats

    extract_and_save(
        options, extract_stats, save_stats, lambda stats: f"statistics of {stats.count} images"
    )
