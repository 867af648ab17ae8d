"""The command `completion`: a script with which a shell completes jaxfid's commands, options and files."""

import argparse
import re
from collections.abc import Mapping
from typing import Any

from jaxfid.cli.output import print_line
from jaxfid.errors import InputError

SHELLS = ("bash", "zsh", "tcsh")
_OF_FILES = re.compile(r"PATH|DIR|RUN|PNG|SET|\.npz|\.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `completion`."""
    parser.add_argument("shell", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def run(options: argparse.Namespace) -> None:
    """Runs `completion`.

    Raises:
      InputError: The package `shtab` is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise InputError("completion: needs the package shtab; pip install shtab") from error
    from jaxfid.cli import COMMANDS, make_parser

    parser = make_parser([*COMMANDS])
    _complete_files(parser, shtab.FILE)
    print_line(shtab.complete(parser, shell=options.shell))


def _complete_files(parser: argparse.ArgumentParser, files: Mapping[str, Any]) -> None:
    """Marks the arguments that are files: argparse does not know of them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command, files)
        elif _is_file(action):
            action.complete = files  # pyright: ignore[reportAttributeAccessIssue]


def _is_file(action: argparse.Action) -> bool:
    if action.choices or action.nargs == 0:
        return False
    return not action.option_strings or bool(_OF_FILES.search(str(action.metavar)))
