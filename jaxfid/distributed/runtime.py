"""JAX's distributed runtime: how it is started, and the one place where a private part of JAX is used.

Four things have no public name in JAX: the runtime's client, whose key-value store Orbax and others reach
in the same way; how a cluster is recognised; whether the devices have started; and whether the runtime looks
out for preemption.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import jax
from jax.experimental import multihost_utils

from jaxfid.distributed.roll_call import (
    Address,
    Seat,
    answer_roll,
    call_roll,
    listening_address,
    parse_address,
)
from jaxfid.errors import InputError, JaxfidError

KNOWN_JAX = (0, 8), (0, 12)
"""First and last minor version of JAX in which the private names below are what they are taken for."""


class Store(Protocol):
    """The part of the runtime's client that is used: a key-value store on process 0."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        """Puts a value under a key."""

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        """Returns keys and values under a prefix."""
        ...


class Runtime(NamedTuple):
    """What is known of the runtime once it has started.

    Attributes:
      store: Where processes leave words for each other.
      seat: Which process of how many this is.
    """

    store: Store
    seat: Seat


def require_known_jax() -> None:
    """Checks the version of JAX.

    Raises:
      JaxfidError: The private parts of this version have not been looked at.
    """
    first, last = KNOWN_JAX
    if not first <= jax.__version_info__[:2] <= last:
        known = " to ".join(f"{major}.{minor}" for major, minor in KNOWN_JAX)
        raise JaxfidError(
            f"several processes: known to work with JAX {known}, found {jax.__version__}. Install one of "
            "those, or a newer jaxfid"
        )


def current_runtime() -> Runtime:
    """Returns the runtime that has started.

    The public `jax.process_count` would start the devices, which is a meeting of all processes.
    """
    from jax._src.distributed import global_state

    seat = Seat(global_state.process_id, global_state.num_processes)
    return Runtime(global_state.client, seat)  # pyright: ignore[reportArgumentType]


def reached_preemption(step: int) -> bool:
    """Returns whether all are to stop at this step: JAX was told that a process is about to be taken away.

    Only where a program of the user's started the runtime with its preemption service: that service takes
    SIGTERM for itself. To be called by each process with numbers that grow by one.
    """
    from jax._src.distributed import global_state

    if getattr(global_state, "preemption_sync_manager", None) is None:
        return False  # ours: SIGTERM comes to this program itself
    return multihost_utils.reached_preemption_sync_point(step)


def start_runtime(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    *,
    timeout_s: float | int,
    start_timeout_s: float | int,
) -> None:
    """Starts the runtime with all processes; arguments and errors as in `initialize_distributed`."""
    _require_unused_jax()
    address, seat = _find_place(coordinator, num_processes, process_id, start_timeout_s)
    listening = None
    if seat.index == 0:
        listening = listening_address(address)
        call_roll(listening, seat.count, timeout_s=start_timeout_s)
    else:
        answer_roll(address, seat, timeout_s=start_timeout_s)
    with _no_preemption_service(), _as_input_error():
        jax.distributed.initialize(
            str(address),
            seat.count,
            seat.index,
            initialization_timeout=math.ceil(start_timeout_s),
            # Ours speaks first, with a sentence; JAX's aborts what hangs nevertheless.
            heartbeat_timeout_seconds=math.ceil(2 * timeout_s),
            coordinator_bind_address=None if listening is None else str(listening),
        )


@contextlib.contextmanager
def _no_preemption_service() -> Iterator[None]:
    """With that service on, JAX takes SIGTERM as a notice to the program and does not end."""
    kept = getattr(jax.config, "jax_enable_preemption_service", None)
    if kept is None:  # before 0.8.2 it is always on
        yield
        return
    jax.config.update("jax_enable_preemption_service", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_preemption_service", kept)


@contextlib.contextmanager
def _as_input_error() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise InputError(f"distributed: {error}") from error


def _require_unused_jax() -> None:
    from jax._src.xla_bridge import backends_are_initialized

    if backends_are_initialized():
        raise InputError("initialize_distributed: expected to be called before JAX is used")


def _find_place(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    start_timeout_s: float | int,
) -> tuple[Address, Seat]:
    """Returns where process 0 listens and which process this is, as given or as the cluster says."""
    from jax._src.clusters import ClusterEnv

    given = (coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS"), num_processes, process_id)
    if None in given:
        # Only what was not given is asked of the cluster: what a user says holds.
        wait_s = math.ceil(start_timeout_s)
        found = ClusterEnv.auto_detect_unset_distributed_params(*given, None, None, wait_s)
        given = found[:3]
    address, count, index = given
    if address is None or count is None or index is None:
        raise InputError(
            "distributed: no cluster was recognised. Under Slurm, Open MPI, Cloud TPU and Kubernetes "
            "processes are found by themselves; elsewhere give coordinator (HOST:PORT), num_processes and "
            "process_id"
        )
    if not 0 <= index < count:
        raise InputError(
            f"process_id: expected 0 to {count - 1} of {count} processes, found {index}"
        )
    return parse_address(address), Seat(index, count)
