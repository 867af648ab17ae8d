"""The command `explain`."""

import argparse

from jaxfid.cli.options import start_jax
from jaxfid.cli.output import print_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `explain`."""
    parser.add_argument("first", help="a result (.json), a statistics file or a features file")
    parser.add_argument("second", help="another")


def run(options: argparse.Namespace) -> None:
    """Runs `explain`: a line for each difference.

    Raises:
      InputError: A file is not what it should be.
    """
    start_jax()
    from jaxfid.scoring.explain import explain

    for line in explain(options.first, options.second):
        print_line(line)
