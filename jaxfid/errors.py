"""What can go wrong on purpose; the command line turns each into its exit code."""

import difflib
from collections.abc import Iterable


class JaxfidError(Exception):
    """Base of every error that jaxfid raises deliberately. Exit code 1."""

    exit_code = 1


class InputError(JaxfidError, ValueError):
    """An argument, image, array or file is not what it should be. Exit code 2."""

    exit_code = 2


class WeightsUnavailableError(JaxfidError):
    """The network's weights are neither here nor to be fetched. Exit code 3."""

    exit_code = 3


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Returns `; did you mean X?` for the end of a message; empty where nothing is alike.

    Args:
      found: What the user wrote.
      known: What there is.
    """
    closest = difflib.get_close_matches(found, list(known), n=1)
    return f"; did you mean {closest[0]}?" if closest else ""
