"""Calls of a user's sampler, whose mistakes end in one sentence."""

import contextlib
import functools
import inspect
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxfid.checkpoints.user_modules import is_users
from jaxfid.errors import InputError, JaxfidError

_LONGEST_REASON = 300


class SamplerError(JaxfidError):
    """The user's sampler raised an exception, or returned something other than images. Exit code 1."""


class ArgumentError(InputError):
    """The user's sampler does not take the arguments that it was to be given. Exit code 2."""


def name_sampler(make_sample: Callable[..., object]) -> str:
    """Returns what messages call a sampler: `module:function`."""
    make_sample = inspect.unwrap(make_sample)
    if isinstance(make_sample, functools.partial):
        return name_sampler(make_sample.func)
    named = make_sample if hasattr(make_sample, "__qualname__") else type(make_sample)
    return f"{named.__module__}:{named.__qualname__}"


def describe_call(make_sample: Callable[..., object], checkpoint: str, call: str) -> str:
    """Returns the beginning of a message on a call such as `sample(key, 100)`."""
    return f"sampler {name_sampler(make_sample)} at {checkpoint}: called as {call}"


@contextlib.contextmanager
def calling(make_sample: Callable[..., object], checkpoint: str, call: str) -> Iterator[None]:
    """Turns whatever the user's code raises into one sentence; its traceback is chained.

    Args:
      make_sample: Whose code runs.
      checkpoint: The checkpoint's name.
      call: How it is called.

    Raises:
      SamplerError: The user's code raised an exception.
      ArgumentError: It was given arguments that it does not take.
    """
    try:
        yield
    except ArgumentError:  # of every checkpoint, and not a mistake of the user's code
        raise
    # A script's `sys.exit` would end the comparison; Ctrl-C is the user's own wish and does.
    except (Exception, SystemExit) as error:
        start = describe_call(make_sample, checkpoint, call)
        raise SamplerError(f"{start}: {_last_line(error)}") from error


def _last_line(error: Exception | SystemExit) -> str:
    """What the last line of a traceback says, with the place in the user's code."""
    # Messages of JAX go on for many lines; the first one says what is wrong.
    first, *_ = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {first[:_LONGEST_REASON]}" if first else type(error).__name__
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_users(Path(f.filename))]
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text
