"""The heartbeat: who of several processes lives, which has failed, and short texts between them.

It uses the key-value store of JAX's distributed runtime, not collectives: a collective needs every process
to take part, and waits for ever for one that does not.
"""

import atexit
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TypedDict

import jax

from jaxfid.distributed.runtime import Runtime
from jaxfid.distributed.termination import Terminated
from jaxfid.errors import InputError, JaxfidError, WeightsUnavailableError

PARTING_S = 10.0
"""How long process 0, which holds the store, waits for the others to read why it ends."""

_LONGEST_PAUSE_S = 0.5
"""Between two looks of a process that waits."""

_KINDS = {
    kind.__name__: kind for kind in (InputError, WeightsUnavailableError, JaxfidError, Terminated)
}


class LostProcessError(JaxfidError):
    """A process died or cannot be reached: what all do together cannot go on."""


class Failure(TypedDict):
    """Why a process gave up.

    Attributes:
      kind: Name of the exception.
      message: What it said.
      follows: Whether it gave up only because another process did.
    """

    kind: str
    message: str
    follows: bool


class Heartbeat:
    """What this process tells the others, and knows of them.

    A thread beats and listens, several times a second to once in two seconds, whatever the calling thread
    does meanwhile.

    Attributes:
      index: This process.
      count: How many there are.
    """

    def __init__(
        self, runtime: Runtime, *, timeout_s: float | int, start_timeout_s: float | int
    ) -> None:
        """Starts the beats.

        Args:
          runtime: The runtime that has started.
          timeout_s: A process without a beat for so long counts as dead.
          start_timeout_s: How long the others may take to begin an evaluation that this one has begun.
        """
        self.index, self.count = runtime.seat
        self._store = runtime.store
        self._timeout_s, self._start_timeout_s = timeout_s, start_timeout_s
        self._evaluation = 0
        self._failures: Mapping[int, Failure] = {}
        self._silent: list[int] = []
        self._lost = False
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="jaxfid-heartbeat")
        self._watcher.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the beats. Exit handlers run in reverse order, so this is before the runtime's own end."""
        self._closed.set()
        self._watcher.join()

    def begin_evaluation(self) -> None:
        """Begins the next evaluation, to which older failures do not matter."""
        self._evaluation += 1
        self._failures = {}
        self._post("begun", str(self._evaluation))

    def exchange(self, topic: str, text: str) -> list[str]:
        """Returns the texts of all processes on a topic of the present evaluation, in their order.

        Raises:
          JaxfidError: Another process failed or died before it posted its own, or does not take part.
        """
        topic = f"{self._evaluation}/{topic}"
        self._post(topic, text)
        began, pause_s = time.monotonic(), 0.005
        while len(texts := self._read(topic)) < self.count:
            self.check()
            if time.monotonic() - began > self._start_timeout_s:
                self._require_all_have_begun()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return [texts[index] for index in range(self.count)]

    def check(self) -> None:
        """Looks whether the others are well; costs nothing.

        Raises:
          JaxfidError: Another process failed (then the same kind of error as its own), or died.
          Terminated: Another process was asked to end.
        """
        for index, failure in sorted(self._failures.items()):
            if not failure["follows"]:
                kind = _KINDS.get(failure["kind"], JaxfidError)
                what = "" if kind is Terminated else "failed: "
                raise kind(f"process {index} of {self.count} {what}{failure['message']}")
        self._check_alive()

    def _check_alive(self) -> None:
        if self._silent:
            names = ", ".join(map(str, self._silent))
            raise LostProcessError(
                f"of {self.count} processes, nothing was heard of {names} for {self._timeout_s:g} s: dead, "
                "suspended or cut off from the network. See their own output"
            )
        if self._lost:
            raise _lost()

    def post_failure(self, error: BaseException) -> None:
        """Tells the others that this process gives up, and why."""
        with contextlib.suppress(JaxfidError):
            self._post_reason(error)
            if self.index == 0:
                self._wait_for_the_others()
                if isinstance(
                    error, LostProcessError
                ):  # which those have yet to read that failed before
                    time.sleep(2 * _LONGEST_PAUSE_S)

    def fail_together(self, error: BaseException) -> None:
        """Tells the others that the present evaluation has failed, and waits until all have left it.

        Raises:
          LostProcessError: One of them died meanwhile, or cannot leave it.
        """
        self._post_reason(error)
        pause_s = 0.005
        while True:
            failed = self._read(f"{self._evaluation}/failed")
            self._require_that_others_go_on(failed)
            ahead = {i for i, n in self._read("begun").items() if int(n) > self._evaluation}
            if not set(range(self.count)) - set(failed) - ahead:
                return
            self._check_alive()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _require_that_others_go_on(self, failed: Mapping[int, str]) -> None:
        for index, text in sorted(failed.items()):
            failure = json.loads(text)
            if index != self.index and failure["kind"] == LostProcessError.__name__:
                raise LostProcessError(
                    f"process {index} of {self.count} failed: {failure['message']}"
                )

    def _post_reason(self, error: BaseException) -> None:
        follows = bool(self._failures or self._silent or self._lost)
        kind, message = type(error).__name__, str(error) or type(error).__name__
        failure = Failure(kind=kind, message=message, follows=follows)
        self._post(f"{self._evaluation}/failed", json.dumps(failure))

    def _require_all_have_begun(self) -> None:
        """Tells a process that is slow from one that makes other calls."""
        if absent := self._absent():
            raise JaxfidError(
                f"of {self.count} processes, {', '.join(map(str, absent))} did not begin this evaluation "
                f"within {self._start_timeout_s:g} s. All processes make the same calls in the same order; "
                "for an evaluation of this process alone, call compute_stats(images, local=True)"
            )

    def _absent(self) -> list[int]:
        begun = self._read("begun")
        return [i for i in range(self.count) if int(begun.get(i, "0")) < self._evaluation]

    def _wait_for_the_others(self) -> None:
        end = time.monotonic() + PARTING_S
        others = set(range(1, self.count)) - set(self._absent())
        while time.monotonic() < end:
            if not others - set(self._silent) - set(self._read(f"{self._evaluation}/failed")):
                return
            time.sleep(0.1)

    def _watch(self) -> None:
        pace_s = min(max(self._timeout_s / 20, 0.1), 2.0)
        heard: dict[int, tuple[str, float]] = {
            index: ("", time.monotonic()) for index in range(self.count)
        }
        beat = 0
        with contextlib.suppress(JaxfidError):
            while not self._closed.wait(pace_s):
                beat += 1
                self._post("beats", str(beat))
                evaluation = self._evaluation
                failed = self._read(f"{evaluation}/failed")
                beats, now = self._read("beats"), time.monotonic()
                for index, text in beats.items():
                    if heard[index][0] != text:
                        heard[index] = text, now
                self._silent = [i for i, (_, at) in heard.items() if now - at > self._timeout_s]
                # The next evaluation may have begun while the store was read.
                if evaluation == self._evaluation:
                    failed.pop(self.index, None)
                    self._failures = {i: json.loads(text) for i, text in failed.items()}

    def _post(self, topic: str, text: str) -> None:
        """Puts this process's text on a topic, in place of an earlier one."""
        with self._or_lost():
            key = f"jaxfid/{topic}/{self.index}"
            self._store.key_value_set(key, text, allow_overwrite=True)

    def _read(self, topic: str) -> dict[int, str]:
        """Returns the texts on a topic by process."""
        with self._or_lost():
            found = self._store.key_value_dir_get(f"jaxfid/{topic}/")
        return {int(key.rpartition("/")[2]): text for key, text in found}

    @contextlib.contextmanager
    def _or_lost(self) -> Iterator[None]:
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            self._lost = not self._closed.is_set()
            raise _lost() from error


def _lost() -> LostProcessError:
    return LostProcessError(
        "process 0 cannot be reached any more: dead, or cut off from the network"
    )
