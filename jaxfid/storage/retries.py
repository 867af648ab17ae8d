"""How often a place far away is asked, and by how many at once; every request goes through here."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from jaxfid.storage.faults import explain, give_up, is_passing

MAX_CONNECTIONS = 32
"""Requests at a time, whatever the number of threads: more bring no speed, and servers refuse them."""

TRIES = 6
FIRST_WAIT_S = 0.5
"""The wait before the second try; each further one is twice as long."""

PATIENCE_S = 60.0
"""No try begins later than this after the first. The libraries behind it try some times by themselves."""

_connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
_Answer = TypeVar("_Answer")


def ask(request: Callable[[], _Answer], url: str) -> _Answer:
    """Returns what a request gives, tried again where it fails by what may pass.

    Args:
      request: Can be made again: it reads, or writes something whole.
      url: What is asked for, for messages.

    Raises:
      AccessError: The place refuses this user.
      UnreachableError: It did not answer.
      OSError: What else the place says, first of all `FileNotFoundError`.
    """
    began = time.monotonic()
    for tried in range(1, TRIES + 1):
        try:
            with _connections:
                return request()
        except Exception as error:  # each library has its own, without a common base
            elapsed_s = time.monotonic() - began
            if not is_passing(error):
                explained = explain(error, url)
                if explained is error:
                    raise
                raise explained from error
            if tried == TRIES or elapsed_s > PATIENCE_S:
                raise give_up(error, url, tried, elapsed_s) from error
        # By chance a little more, so that the processes of a pod do not all come back at once.
        time.sleep(FIRST_WAIT_S * 2 ** (tried - 1) * random.uniform(1, 1.25))
    raise AssertionError("the last try returns or raises")
