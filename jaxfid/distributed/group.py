"""The group: several processes, each with devices and images of its own, as one evaluation.

No step of the network waits for another process. The processes meet before the work, to agree on what it
is, and after it, to put together what each has kept. Between the two each only looks whether the others live.
"""

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn, ParamSpec, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree, Shaped, UInt32

from jaxfid.context import own_context
from jaxfid.distributed.differences import by_number, find_differences
from jaxfid.distributed.heartbeat import Heartbeat, LostProcessError
from jaxfid.distributed.runtime import (
    current_runtime,
    reached_preemption,
    require_known_jax,
    start_runtime,
)
from jaxfid.distributed.termination import (
    Terminated,
    deferred_sigterm,
    is_asked_to_end,
    raise_if_terminated,
)
from jaxfid.errors import InputError, JaxfidError

_P = ParamSpec("_P")
_R = TypeVar("_R")

WORDS_IN_A_GATHER = 2**24
"""32-bit words that all processes together bring to one collective: 64 MB on each device."""


class ProcessGroup:
    """The processes of an evaluation as seen from one of them. Alone, there is no other to wait for.

    Attributes:
      index: This process.
      count: How many there are.
    """

    def __init__(self, heartbeat: Heartbeat | None = None) -> None:
        self._heartbeat = heartbeat
        self.index, self.count = (0, 1) if heartbeat is None else (heartbeat.index, heartbeat.count)
        self._inside = False
        self._meetings = self._checks = 0

    @contextlib.contextmanager
    def one_evaluation(self) -> Iterator[None]:
        """Within it, an error here reaches every process, and an error there this one.

        All processes enter it equally often, in the same order. One inside another is part of it.
        """
        if self._heartbeat is None or self._inside:
            yield
            return
        self._begin_next()
        self._inside = True
        try:
            yield
        except BaseException as error:
            self._heartbeat.post_failure(error)
            raise
        finally:
            self._inside = False

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Within it an error here is an error on every process; what is around it goes on.

        All processes enter it in the same order. All come out of it well, or all with an error of jaxfid's.

        Raises:
          LostProcessError: One of them died; then nothing goes on.
        """
        if self._heartbeat is None:
            yield
            return
        try:
            yield
            # One that is through may not go on before the others are: they could still fail.
            self.exchange("done")
        except LostProcessError:
            raise
        except JaxfidError as error:
            self._heartbeat.fail_together(error)
            self._begin_next()
            raise
        self._begin_next()

    def _begin_next(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.begin_evaluation()
        self._meetings = 0

    def exchange(self, text: str) -> list[str]:
        """Returns the texts of all processes, in their order; waits for all.

        Raises:
          JaxfidError: One of them failed or died, or does not take part.
        """
        if self._heartbeat is None:
            return [text]
        self._meetings += 1
        return self._heartbeat.exchange(str(self._meetings), text)

    def require_agreement(self, facts: Mapping[str, object], *, sets: Sequence[str] = ()) -> None:
        """Compares what the processes see; all of them come back, or none.

        Args:
          facts: What has to be equal, by name; values that JSON knows.
          sets: What each image set is called here. Names may differ, as paths do; a message gives them.

        Raises:
          InputError: Something differs: the message says what, and which process sees which value.
          JaxfidError: A process failed or died, or does not take part.
        """
        texts = self.exchange(json.dumps({"facts": facts, "sets": list(sets)}))
        seen = [json.loads(text) for text in texts]
        found = find_differences([one["facts"] for one in seen])
        if not found:
            return
        message = f"the processes do not see the same evaluation: {'; '.join(found)}"
        names = find_differences([by_number(one["sets"]) for one in seen])
        if names:
            message += (
                f". {'; '.join(names)}. Every process is given the whole of each set and reads its own part. "
                "For statistics of what this process alone has, call compute_stats(images, local=True)"
            )
        raise InputError(message)

    def tell(self, text: str) -> str:
        """Returns the text of process 0, for which all wait; what the others give is not looked at."""
        return self.exchange(text if self.index == 0 else "")[0]

    def check(self) -> None:
        """Looks whether to go on; to be called between batches, costs nothing.

        Raises:
          JaxfidError: Another process failed or died.
          Terminated: This process or another was asked to end, or JAX was told so.
        """
        raise_if_terminated()
        self.check_others()
        if self._heartbeat is not None and self._is_preempted():
            raise Terminated("ended by JAX's notice of preemption")

    def _is_preempted(self) -> bool:
        # The process that is furthest reaches the point that JAX has chosen; it tells the others, which may
        # be behind it by the batches that an earlier run had done.
        self._checks += 1
        return reached_preemption(self._checks)

    def check_others(self) -> None:
        """As `check`, but does not look whether this process was asked to end.

        Raises:
          JaxfidError: Another process failed or died.
        """
        if self._heartbeat is not None:
            self._heartbeat.check()

    def check_together(self, due: bool) -> bool:
        """As `check`, where all processes call it at the same place: all end there, or none.

        Args:
          due: Whether something is due on this process.

        Returns:
          Whether it is due on any.

        Raises:
          JaxfidError: Another process failed or died.
          Terminated: This process or another was asked to end.
        """
        is_asked = is_asked_to_end() or self._is_preempted()
        seen = [json.loads(text) for text in self.exchange(json.dumps([is_asked, due]))]
        if is_asked:  # else one that came just now, of which the others do not know yet
            raise_if_terminated()
        for index, (ends, _) in enumerate(seen):
            if ends:
                raise Terminated(f"process {index} of {self.count} was asked to end")
        return any(is_due for _, is_due in seen)

    def gather(self, array: Shaped[np.ndarray, "n ..."]) -> list[Shaped[np.ndarray, "_ ..."]]:
        """Returns the arrays of all processes, in their order and to the bit; waits for all.

        Args:
          array: Of one dtype on all, its items of 4 or 8 bytes; shapes may differ.

        Raises:
          JaxfidError: One of the processes failed or died.
        """
        if self.count == 1:
            return [array]
        # One that ended between its word and the collective would leave the others in it for ever.
        with deferred_sigterm():
            shapes = [json.loads(text) for text in self.exchange(json.dumps(array.shape))]
            parts = [np.empty(math.prod(shape), array.dtype) for shape in shapes]
            words = [part.view(np.uint32) for part in parts]
            mine = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
            for first, rows in self._gather_words(mine, max(map(len, words))):
                for part, row in zip(words, rows, strict=True):
                    place = part[first : first + len(row)]
                    place[:] = row[: len(place)]
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def total(self, tree: PyTree) -> PyTree:
        """Returns the sum of all processes' trees of float64 arrays, the same bits on each; waits for all.

        Raises:
          JaxfidError: One of the processes failed or died.
        """
        if self.count == 1:
            return tree
        leaves, structure = jax.tree.flatten(tree)
        mine = np.concatenate([np.ravel(leaf).astype(np.float64, copy=False) for leaf in leaves])
        with deferred_sigterm():  # as in `gather`
            self.exchange("ready")  # a collective would wait for ever for one that never comes
            sums = np.empty_like(mine)
            for first, rows in self._gather_words(mine.view(np.uint32), 2 * len(mine)):
                place = sums[first // 2 : first // 2 + rows.shape[1] // 2]
                place[:] = rows.view(np.float64).sum(0)[: len(place)]
        cuts = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
        shaped = [
            part.reshape(np.shape(leaf))
            for part, leaf in zip(np.split(sums, cuts), leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, shaped)

    def _gather_words(
        self, mine: UInt32[np.ndarray, " n"], longest: int
    ) -> Iterator[tuple[int, UInt32[np.ndarray, "processes m"]]]:
        """Gives all processes' words, a stretch at a time, and where the stretch begins.

        As 32-bit integers, since `process_allgather` rounds float64 to float32 outside `enable_x64` and
        some devices know no float64 at all. The sum is made on the host, in the order of the processes.
        """
        # Powers of two, so that few lengths are compiled; even, so that no float64 is cut in two.
        stretch = min(WORDS_IN_A_GATHER // self.count, 2 ** math.ceil(math.log2(max(longest, 2))))
        stretch -= stretch % 2
        for first in range(0, longest, stretch):
            part = np.zeros(stretch, np.uint32)
            present = mine[first : first + stretch]
            part[: len(present)] = present
            yield first, self._allgather(part)

    @own_context()
    def _allgather(self, part: UInt32[np.ndarray, " m"]) -> UInt32[np.ndarray, "processes m"]:
        # Not `check`: a SIGTERM of our own must wait here, as the others are in the collective already.
        if self._heartbeat is not None:
            self._heartbeat.check()
        try:
            return multihost_utils.process_allgather(part)
        except jax.errors.JaxRuntimeError as error:
            raise LostProcessError(
                f"a process was lost while all were combined: {error}"
            ) from error


_group = ProcessGroup()


def process_group() -> ProcessGroup:
    """Returns the processes that evaluate together, as seen from this one."""
    return _group


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within it this process evaluates by itself, on its own devices, and waits for no other.

    Where processes have not used JAX yet, the first use on one of them still waits for all the others: that
    is how JAX starts devices.
    """
    global _group
    joint, _group = _group, ProcessGroup()
    try:
        yield
    finally:
        _group = joint


def one_evaluation(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Returns the function as one evaluation of all processes; see `ProcessGroup.one_evaluation`."""

    @functools.wraps(function)
    def together(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _group.one_evaluation():
            return function(*args, **kwargs)

    return together


def initialize_distributed(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout_s: float | int = 60.0,
    start_timeout_s: float | int = 300.0,
) -> None:
    """Makes this process one of several that evaluate together: every later call takes part on each.

    To be called on every process before JAX is used. Each then makes the same calls, reads its own part
    of the images, and gets the same result. A program that has called `jax.distributed.initialize` itself
    may still call this. Under Slurm, Open MPI, Cloud TPU and Kubernetes no argument is needed.

    A process that dies ends the others: those with a step to do or waiting for others raise a
    `JaxfidError` after `timeout_s`. JAX aborts one that is busy otherwise after twice that, and all at
    once where process 0 died.

    Process 0 listens on the given address alone, without a password and in plain text. Who reaches that
    port can read and forge what the processes tell each other, and end the evaluation; jaxfid runs nothing
    that comes from there. Sums and features go between processes by JAX's own transports, in plain text
    too. Use a network that you trust. Where JAX can encrypt its runtime (0.12), call
    `jax.distributed.initialize` yourself first.

    Args:
      coordinator: Host and port of process 0, on which it listens and where the others find it.
      num_processes: How many there are.
      process_id: Which one this is, 0 to `num_processes - 1`.
      timeout_s: Seconds without a sign of life after which a process counts as dead.
      start_timeout_s: Seconds that all have to arrive, here and at each evaluation.

    Raises:
      InputError: Nothing was given and no cluster was recognised; what was given is wrong, does not go
        with what the others were given, or is not free; or JAX has been used already.
      JaxfidError: Not all processes came in time; or the version of JAX is not one of those known.
    """
    global _group
    for name, seconds in (("timeout_s", timeout_s), ("start_timeout_s", start_timeout_s)):
        if not seconds >= 1:
            raise InputError(f"{name}: expected at least 1, found {seconds}")
    if _group.count > 1:
        raise InputError("initialize_distributed: this process is one of several already")
    # A training that jaxfid is called from may have joined its processes already; they are used as they are.
    require_known_jax()
    if not jax.distributed.is_initialized():
        start_runtime(
            coordinator,
            num_processes,
            process_id,
            timeout_s=timeout_s,
            start_timeout_s=start_timeout_s,
        )
    runtime = current_runtime()
    if runtime.seat.count > 1:
        _group = ProcessGroup(
            Heartbeat(runtime, timeout_s=timeout_s, start_timeout_s=start_timeout_s)
        )


def leave(exit_code: int) -> NoReturn:
    """Ends this process after an error. JAX's own exit would first wait for all processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
