"""What is printed: a line that cannot be printed never costs a result."""

import io
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO


def print_line(text: str) -> None:
    """Writes a line of data on stdout; characters that its encoding lacks are replaced."""
    _write(sys.stdout, text)


def say(text: str) -> None:
    """Writes a line for people on stderr, as stdout is for data."""
    _write(sys.stderr, text)


def say_skipped(skipped: Iterable[Mapping[str, str]]) -> None:
    """Says which files were left out, and why."""
    for one in skipped:
        say(f"jaxfid: skipped {one['key']}: {one['reason']}")


def _write(stream: io.TextIOBase | TextIO, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        # The reader has gone (`| head`). What is still to be printed goes nowhere, and Python does not
        # complain at the end that it could not flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError:
        # A full disk behind stdout: the result is saved, and may be all that is left to say.
        if stream is not sys.stderr:
            say("jaxfid: warning: stdout cannot be written")
