"""SIGTERM: what a scheduler sends to a process some seconds before it kills it. Imports no JAX.

The command line turns it into the exception `Terminated`, at once wherever that can be raised. Only a pass
over images lets its present batch end first, so that what it has kept is whole and can be written down.
"""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class Terminated(BaseException):
    """This process, or another of the same evaluation, was asked to end.

    As with KeyboardInterrupt, no handler of ordinary errors is to catch it: a checkpoint whose scoring is
    ended so has not failed.
    """

    exit_code = EXIT_CODE


@dataclasses.dataclass
class _State:
    asked: bool = False
    deferred: bool = False


_state = _State()


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Within it SIGTERM raises `Terminated`. For programs of jaxfid alone: a library leaves signals alone."""
    if threading.current_thread() is not threading.main_thread():  # which alone may set a handler
        yield
        return
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _state.asked = False


@contextlib.contextmanager
def deferred_sigterm() -> Iterator[None]:
    """Within it a first SIGTERM is only noted, for `raise_if_terminated`; a second one is not."""
    outer, _state.deferred = _state.deferred, True
    try:
        yield
    finally:
        _state.deferred = outer
    if not outer:
        raise_if_terminated()


def is_asked_to_end() -> bool:
    """Returns whether a SIGTERM was noted."""
    return _state.asked


def raise_if_terminated() -> None:
    """Raises what was noted.

    Raises:
      Terminated: A SIGTERM came.
    """
    if _state.asked:
        raise Terminated("ended by SIGTERM")


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    first, _state.asked = not _state.asked, True
    if not (first and _state.deferred):
        raise_if_terminated()
