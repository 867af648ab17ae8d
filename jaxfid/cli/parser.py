"""How arguments are parsed: a mistake is told in one line, with the word that was probably meant."""

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from jaxfid.errors import did_you_mean

_REQUIRED = re.compile(r"the following arguments are required: (.*)")


class Parser(argparse.ArgumentParser):
    """argparse's parser without its fifteen lines of usage before every message."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        # Instead of "invalid int value".
        self.register("type", int, _parse_whole_number)
        self.register("type", float, _parse_number)

    def parse_args(self, args: Sequence[str], namespace: Any = None) -> Any:  # noqa: ANN401
        """Returns the options; what is left over is named with what it may have meant."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = _find_command(self, args)
            command.error(_describe_unknown(unknown, list(_option_strings(command))))
        return options

    def error(self, message: str) -> NoReturn:
        """Ends with one line on stderr and exit code 2."""
        missing = _REQUIRED.fullmatch(message)
        text = f"expected {missing[1]}, found nothing" if missing else message
        end = "" if text.endswith("?") else "."
        self.exit(2, f"jaxfid: error: {text}{end} See {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401
        """Checks one of several choices as argparse does, in our words."""
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            expected = f"expected {', '.join(names)}, found {value!r}"
            raise argparse.ArgumentError(action, expected + did_you_mean(str(value), names))


def join_negative_ranges(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with `--value-range -1..1` as `--value-range=-1..1`.

    argparse takes what begins with a dash for an option, unless it is a plain number.
    """
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--value-range" and argument.startswith("-"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _find_command(parser: Parser, arguments: Sequence[str]) -> Parser:
    """The parser of the command that was asked for; that of all commands where it is none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and arguments:
            return action.choices.get(arguments[0], parser)
    return parser


def _option_strings(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of the parser and of its commands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _option_strings(command)


def _describe_unknown(unknown: Sequence[str], known: Sequence[str]) -> str:
    options = [word for word in unknown if word.startswith("-")]
    if not options:
        return f"{unknown[0]}: expected no more arguments"
    name = options[0].partition("=")[0]
    return f"there is no option {name}{did_you_mean(name, known)}"


def _parse_whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}") from None


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}") from None
