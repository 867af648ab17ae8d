"""The command line: arguments in, calls of the facade, lines out. stdout is data, stderr is talk.

Each command is a module of this package with `add_arguments` and `run`. Only the module of the command that
was asked for is imported, so that `--help` answers at once and the devices can be chosen before JAX starts.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from jaxfid.cli.output import say
from jaxfid.cli.parser import Parser, join_negative_ranges
from jaxfid.cli.processes import report_end, run_joined
from jaxfid.cli.version import VersionAction
from jaxfid.distributed.termination import Terminated
from jaxfid.errors import JaxfidError

COMMANDS = {
    "score": "score sets of images against a reference",
    "stats": "save the statistics of a set of images",
    "features": "save the features of a set of images",
    "compare": "compare the checkpoints of a training run",
    "report": "show a comparison as one HTML file",
    "distance": "compare features of any origin",
    "explain": "say why two numbers differ",
    "weights": "see, fetch or import the weights",
    "demo": "score disturbed pictures, and draw the figure",
    "completion": "print what a shell needs to complete commands, options and files",
}
"""Each command, and what it is for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0 done, 2 wrong input, 3 no weights, 143 ended by SIGTERM, 1 anything else.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # The command is always the first word, so that it is known before anything is parsed.
    options = make_parser(arguments[:1]).parse_args(join_negative_ranges(arguments))
    try:
        run_joined(options.run, options)
        return 0
    except (JaxfidError, Terminated) as error:
        return report_end(options, error)
    except KeyboardInterrupt:  # a wish, not an error: no traceback
        say("jaxfid: interrupted")
        return 1


def make_parser(asked_for: Sequence[str]) -> argparse.ArgumentParser:
    """Returns the parser; only the command that is asked for has its arguments."""
    parser = Parser(
        prog="jaxfid",
        description="Frechet Inception Distance and its family of metrics, in JAX.",
    )
    parser.add_argument(
        "--version", action=VersionAction, nargs=0, help="versions, devices and weights, and exit"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
        if name in asked_for:  # the options of `score` import every metric
            module = importlib.import_module(f"jaxfid.cli.{name}")
            module.add_arguments(command)
            if command.get_default("run") is None:
                command.set_defaults(run=module.run)
    return parser
