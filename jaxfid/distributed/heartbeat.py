"""A notice board that several processes share: what each posts all can read, and who has fallen silent.

It stands on the key-value store of JAX's distributed runtime, not on collectives: those need every process
to take part and wait for ever for one that does not. The store has no public name in JAX; Orbax and others
reach it in the same way.
"""

import atexit
import contextlib
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import jax

from jaxfid.errors import InputError, JaxfidError, WeightsUnavailableError

PARTING_S = 10.0
"""How long process 0, whose end ends the board, waits for the others to read why it ends."""

_KINDS = {kind.__name__: kind for kind in (InputError, WeightsUnavailableError, JaxfidError)}


class Board:
    """The notices of this process and the others.

    A thread posts a beat and looks at the others' a few times a second to every few seconds, whatever
    the calling thread does meanwhile.

    Args:
      client: JAX's client of the store.
      index: This process.
      count: How many there are.
      timeout_s: After so many seconds without a beat a process counts as dead.
    """

    def __init__(self, client: Any, *, index: int, count: int, timeout_s: float) -> None:  # noqa: ANN401
        self.index, self.count, self.timeout_s = index, count, timeout_s
        self._client = client
        self._run = 0
        self._failures: Mapping[int, dict[str, Any]] = {}
        self._silent: list[int] = []
        self._lost = False
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="jaxfid-watch")
        self._watcher.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the beats; before the runtime's own end, as exit handlers run in reverse order."""
        self._closed.set()
        self._watcher.join()

    def begin_run(self) -> None:
        """Begins the next evaluation, to which older failures are of no concern."""
        self._run += 1
        self._failures = {}

    def post(self, topic: str, text: str) -> None:
        """Puts this process's notice on a topic, in place of an earlier one.

        Raises:
          JaxfidError: The board is gone, and with it process 0.
        """
        with self._or_lost():
            key = f"jaxfid/{topic}/{self.index}"
            self._client.key_value_set(key, text, allow_overwrite=True)

    def read(self, topic: str) -> dict[int, str]:
        """Returns the notices on a topic by process.

        Raises:
          JaxfidError: The board is gone, and with it process 0.
        """
        with self._or_lost():
            notices = self._client.key_value_dir_get(f"jaxfid/{topic}/")
        return {int(key.rpartition("/")[2]): text for key, text in notices}

    def exchange(self, topic: str, text: str) -> list[str]:
        """Returns the notices of all processes on a topic of the present evaluation, in their order.

        Raises:
          JaxfidError: Another process failed, or died, before it posted its own.
        """
        topic = f"{self._run}/{topic}"
        self.post(topic, text)
        pause_s = 0.005
        while len(notices := self.read(topic)) < self.count:
            self.check()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.5)
        return [notices[index] for index in range(self.count)]

    def check(self) -> None:
        """Looks whether the others are well; costs nothing.

        Raises:
          JaxfidError: Another process failed (then the same kind of error as its own), or died.
        """
        for index, failure in sorted(self._failures.items()):
            if not failure["follows"]:
                kind = _KINDS.get(failure["kind"], JaxfidError)
                raise kind(f"process {index} of {self.count} failed: {failure['message']}")
        if self._silent:
            names = ", ".join(map(str, self._silent))
            raise JaxfidError(
                f"of {self.count} processes, nothing was heard of {names} for {self.timeout_s:g} s: dead, "
                "suspended or cut off from the network. See their own output"
            )
        if self._lost:
            raise _lost()

    def post_failure(self, error: BaseException) -> None:
        """Tells the others that this process gives up, and why."""
        follows = bool(self._failures or self._silent or self._lost)
        kind, message = type(error).__name__, str(error) or type(error).__name__
        failure = {"kind": kind, "message": message, "follows": follows}
        with contextlib.suppress(JaxfidError):
            self.post(f"{self._run}/failed", json.dumps(failure))
            if self.index == 0:
                self._wait_for_the_others()

    def _wait_for_the_others(self) -> None:
        end = time.monotonic() + PARTING_S
        others = set(range(1, self.count))
        while time.monotonic() < end:
            if not others - set(self._silent) - set(self.read(f"{self._run}/failed")):
                return
            time.sleep(0.1)

    def _watch(self) -> None:
        pace_s = min(max(self.timeout_s / 20, 0.1), 2.0)
        heard = dict.fromkeys(range(self.count), ("", time.monotonic()))
        beat = 0
        with contextlib.suppress(JaxfidError):
            while not self._closed.wait(pace_s):
                beat += 1
                self.post("beats", str(beat))
                run, failed = self._run, self.read(f"{self._run}/failed")
                beats, now = self.read("beats"), time.monotonic()
                for index, text in beats.items():
                    if heard[index][0] != text:
                        heard[index] = text, now
                self._silent = [i for i, (_, at) in heard.items() if now - at > self.timeout_s]
                if run == self._run:
                    failed.pop(self.index, None)
                    self._failures = {i: json.loads(text) for i, text in failed.items()}

    @contextlib.contextmanager
    def _or_lost(self) -> Any:  # noqa: ANN401
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            self._lost = not self._closed.is_set()
            raise _lost() from error


def _lost() -> JaxfidError:
    return JaxfidError("process 0 cannot be reached any more: dead, or cut off from the network")
