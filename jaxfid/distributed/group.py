"""Processes: several of them, each with devices and a share of the images of its own, as one evaluation.

No step of the network waits for another process. They meet before the work, to agree on what it is, and
after it, to put together what each has kept; between the two each only looks whether the others live.
"""

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn, ParamSpec, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped, UInt32

from jaxfid.distributed.heartbeat import Board
from jaxfid.errors import InputError, JaxfidError

_P, _R = ParamSpec("_P"), TypeVar("_R")

WORDS_IN_A_GATHER = 2**24
"""32-bit words that all processes together bring to one collective: 64 MB on each device."""


class ProcessGroup:
    """The processes of an evaluation as seen from one of them; alone, there is nobody to wait for.

    Attributes:
      index: This process.
      count: How many there are.
    """

    def __init__(self, board: Board | None = None) -> None:
        self._board = board
        self.index, self.count = (0, 1) if board is None else (board.index, board.count)
        self._depth = 0
        self._meetings = 0

    @contextlib.contextmanager
    def one_evaluation(self) -> Iterator[None]:
        """Within it, an error here reaches every process, and an error there this one.

        All processes enter it equally often, in the same order.
        """
        if self._board is None or self._depth:
            yield
            return
        self._board.begin_run()
        self._depth, self._meetings = 1, 0
        try:
            yield
        except BaseException as error:
            self._board.post_failure(error)
            raise
        finally:
            self._depth = 0

    def exchange(self, text: str) -> list[str]:
        """Returns the texts of all processes, in their order; waits for all.

        Raises:
          JaxfidError: One of them failed or died.
        """
        if self._board is None:
            return [text]
        self._meetings += 1
        return self._board.exchange(str(self._meetings), text)

    def require_agreement(self, facts: Mapping[str, Any]) -> None:
        """Compares what the processes see; all of them come back, or none.

        Args:
          facts: What has to be equal, by name; values that JSON knows.

        Raises:
          InputError: Something differs: the message says what, and which process sees which value.
          JaxfidError: A process failed or died.
        """
        seen = [json.loads(text) for text in self.exchange(json.dumps(facts))]
        names = sorted({name for one in seen for name in one})
        unequal = [n for n in names if any(one.get(n) != seen[0].get(n) for one in seen)]
        if unequal:
            found = "; ".join(_describe(name, [one.get(name) for one in seen]) for name in unequal)
            raise InputError(f"the processes do not see the same evaluation: {found}")

    def watch(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Gives the batches, as long as every process lives.

        Raises:
          JaxfidError: Another process failed or died.
        """
        for batch in batches:
            self._check()
            yield batch

    def gather(self, array: Shaped[np.ndarray, "n ..."]) -> list[Shaped[np.ndarray, "n ..."]]:
        """Returns the arrays of all processes, in their order and to the bit; waits for all.

        Args:
          array: Of one dtype on all, its items of 4 or 8 bytes; shapes may differ.

        Raises:
          JaxfidError: One of the processes failed or died.
        """
        if self.count == 1:
            return [array]
        shapes = [json.loads(text) for text in self.exchange(json.dumps(array.shape))]
        parts = [np.empty(math.prod(shape), array.dtype) for shape in shapes]
        words = [part.view(np.uint32) for part in parts]
        mine = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
        for first, rows in self._gather_words(mine, max(map(len, words))):
            for part, row in zip(words, rows, strict=True):
                rest = part[first : first + len(row)]
                rest[:] = row[: len(rest)]
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def total(self, tree: Any) -> Any:  # noqa: ANN401
        """Returns the sum of all processes' trees of float64 arrays, the same bits on each; waits for all.

        Raises:
          JaxfidError: One of the processes failed or died.
        """
        if self.count == 1:
            return tree
        leaves, structure = jax.tree.flatten(tree)
        mine = np.concatenate([np.ravel(leaf).astype(np.float64, copy=False) for leaf in leaves])
        self.exchange("ready")
        sums = np.empty_like(mine)
        for first, rows in self._gather_words(mine.view(np.uint32), 2 * len(mine)):
            rest = sums[first // 2 : first // 2 + rows.shape[1] // 2]
            rest[:] = rows.view(np.float64).sum(0)[: len(rest)]
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
        some devices know no float64 at all; the sum is made on the host, in the order of the processes.
        """
        stretch = min(WORDS_IN_A_GATHER // self.count, 2 ** math.ceil(math.log2(max(longest, 2))))
        stretch -= stretch % 2
        for first in range(0, longest, stretch):
            part = np.zeros(stretch, np.uint32)
            present = mine[first : first + stretch]
            part[: len(present)] = present
            yield first, self._allgather(part)

    def _allgather(self, part: UInt32[np.ndarray, " m"]) -> UInt32[np.ndarray, "processes m"]:
        self._check()
        try:
            return multihost_utils.process_allgather(part)
        except jax.errors.JaxRuntimeError as error:
            raise JaxfidError(f"a process was lost while all were combined: {error}") from error

    def _check(self) -> None:
        if self._board is not None:
            self._board.check()


_group = ProcessGroup()


def process_group() -> ProcessGroup:
    """Returns the processes that evaluate together, as seen from this one."""
    return _group


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
    timeout_s: float = 60.0,
) -> None:
    """Makes this process one of several that evaluate together: every later call takes part on each.

    To be called on every process before JAX is used. Each then makes the same calls, reads its own share
    of the images, and gets the same result. A program that has called `jax.distributed.initialize` itself
    may still call this. Under Slurm, Open MPI, Cloud TPU and Kubernetes no argument is needed.

    A process that dies ends the others: those with a step to do or waiting for others raise a
    `JaxfidError` after `timeout_s`; any that is busy otherwise is aborted by JAX after twice that, and
    all are, at once, where it was process 0 that died. All have 300 s to arrive.

    Args:
      coordinator: Host and port of process 0, on which it listens and where the others find it.
      num_processes: How many there are.
      process_id: Which one this is, 0 to `num_processes - 1`.
      timeout_s: Seconds without a sign of life after which a process counts as dead.

    Raises:
      InputError: Nothing was given and no cluster was recognised; what was given is wrong; or JAX has
        been used already.
    """
    global _group
    if timeout_s < 1:
        raise InputError(f"timeout_s: expected at least 1, found {timeout_s}")
    if _group.count > 1:
        raise InputError("initialize_distributed: this process is one of several already")
    if not jax.distributed.is_initialized():
        _start_runtime(coordinator, num_processes, process_id, timeout_s)
    # The public `jax.process_count` would start the devices, which is a meeting of all processes.
    from jax._src.distributed import global_state

    if global_state.num_processes > 1:
        index, count = global_state.process_id, global_state.num_processes
        board = Board(global_state.client, index=index, count=count, timeout_s=timeout_s)
        _group = ProcessGroup(board)


def leave(exit_code: int) -> NoReturn:
    """Ends this process after an error, without the meeting of all processes that JAX's own end is."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _start_runtime(
    coordinator: str | None, num_processes: int | None, process_id: int | None, timeout_s: float
) -> None:
    # With that service on, JAX takes SIGTERM as a notice to the program and does not end.
    kept = jax.config.jax_enable_preemption_service
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=math.ceil(2 * timeout_s),
        )
    except (ValueError, TypeError) as error:
        raise InputError(
            f"distributed: {error} Under Slurm, Open MPI, Cloud TPU and Kubernetes processes are found by "
            "themselves; elsewhere give coordinator (HOST:PORT), num_processes and process_id"
        ) from error
    except RuntimeError as error:
        raise InputError(f"distributed: {error}") from error
    finally:
        jax.config.update("jax_enable_preemption_service", kept)


def _describe(name: str, values: list[Any]) -> str:
    """Says which processes see which value of one fact."""
    processes: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        processes.setdefault(json.dumps(value), []).append(index)
    seen = [f"{value} on {_name_processes(who)}" for value, who in processes.items()]
    return f"{name} is {', '.join(seen)}"


def _name_processes(indices: list[int]) -> str:
    if len(indices) == 1:
        return f"process {indices[0]}"
    shown = ", ".join(map(str, indices[:5]))
    return f"processes {shown}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")
