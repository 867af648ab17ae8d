"""What a run is doing, for people on stderr: bars and seconds on a terminal, a line every 30 s elsewhere."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tqdm.auto import tqdm

LINES_EVERY_S = 30.0
"""Where nothing can be overwritten, as in the log of a batch job."""

_SECONDS_EVERY_S = 1.0
_CLEAR_LINE = "\r\033[K"

Describe = Callable[[float], str]
"""From the seconds since the start to what is to be said."""


@contextlib.contextmanager
def doing(what: str, *, shown: bool) -> Iterator[None]:
    """Says what is under way, and for how long, while nothing else moves.

    Nothing is said of what ends within a second on a terminal, or within 30 s elsewhere.

    Args:
      what: Such as `compiling the network`.
      shown: Whether to say anything.
    """
    if shown:
        with _telling(lambda seconds: f"{what}: {seconds:.0f} s"):
            yield
    else:
        yield


@contextlib.contextmanager
def counting(
    name: str, total: int, *, done: int = 0, shown: bool
) -> Iterator[Callable[[int], object]]:
    """Yields a function that is told of further images, and shows how many of them are done.

    Args:
      name: The set.
      total: Images in it.
      done: How many were done before.
      shown: Whether to show anything.
    """
    done = min(done, total)
    # A notebook's stderr is no terminal either; there tqdm draws a widget.
    if shown and not _is_terminal() and not _in_notebook():
        count = _Count(name, total, done)
        with _telling(count.describe):
            yield count.advance
        return
    with tqdm(total=total, initial=done, desc=name, unit=" images", disable=not shown) as bar:
        yield bar.update


class _Count:
    """How far a set is, in words."""

    def __init__(self, name: str, total: int, done: int) -> None:
        self._name, self._total, self._done, self._before = name, total, done, done

    def advance(self, count: int) -> None:
        """Takes further images."""
        self._done += count

    def describe(self, seconds: float) -> str:
        """Returns how many are done, how fast, and how long the others will take."""
        rate = (self._done - self._before) / seconds
        text = f"{self._name}: {self._done} of {self._total} images"
        if not rate:  # decoding or compiling: nothing is known of the speed
            return f"{text}, {seconds:.0f} s"
        left = tqdm.format_interval((self._total - self._done) / rate)
        return f"{text}, {rate:.1f} images/s, {left} left"


@contextlib.contextmanager
def _telling(describe: Describe) -> Iterator[None]:
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(describe, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell(describe: Describe, over: threading.Event) -> None:
    began, on_terminal, told = time.monotonic(), _is_terminal(), False
    while not over.wait(_SECONDS_EVERY_S if on_terminal else LINES_EVERY_S):
        line = f"jaxfid: {describe(time.monotonic() - began)}"
        _write(f"{_CLEAR_LINE}{line}" if on_terminal else f"{line}\n")
        told = True
    if told and on_terminal:
        _write(_CLEAR_LINE)


def _is_terminal() -> bool:
    return bool(sys.stderr and sys.stderr.isatty())


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def _write(text: str) -> None:
    # A closed stderr costs a message and no result.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
