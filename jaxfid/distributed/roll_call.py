"""The roll call: all processes meet at process 0's address before JAX's runtime starts there. Imports no JAX.

JAX's runtime answers a wrong index, a busy port or an absent process by aborting with a C++ stack trace, or
by a segmentation fault. The roll call finds these first, and every process that has come reads the reason in
one sentence. It is plain TCP: each process sends one line and reads one.
"""

import contextlib
import ipaddress
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from jaxfid.errors import InputError, JaxfidError

LINE_BYTES = 4096
"""The most that is read of a line, which may come from a stranger."""
LINE_S = 2.0
"""How long a process that has connected may take to send its line."""
PAUSE_S = 0.05
"""From one try to reach process 0 to the next."""
GO = "go"


class Address(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Seat(NamedTuple):
    """Which process of how many; what each sends of itself."""

    index: int
    count: int


def parse_address(text: str, name: str = "coordinator") -> Address:
    """Returns the host and port of HOST:PORT.

    Raises:
      InputError: It is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise InputError(f"{name}: expected HOST:PORT, as in 10.0.0.1:1234, found {text!r}")
    return Address(host.strip("[]"), int(port))


def listening_address(coordinator: Address) -> Address:
    """Returns the address at which process 0 listens: the one that was given, and no other interface.

    JAX itself would listen on all interfaces. The environment variable JAX_COORDINATOR_BIND_ADDRESS
    overrides this, for a machine that the others reach by an address that is not its own.

    Raises:
      InputError: The name is not known, or the variable is not of the form HOST:PORT.
    """
    if chosen := os.environ.get("JAX_COORDINATOR_BIND_ADDRESS"):
        return parse_address(chosen, "JAX_COORDINATOR_BIND_ADDRESS")
    try:
        found = socket.getaddrinfo(*coordinator, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(f"coordinator: {coordinator.host} is not known here: {error}") from error
    host = str(found[0][4][0])
    # Debian lets a machine's own name stand for 127.0.1.1, at which no other machine would reach it.
    if ipaddress.ip_address(host).is_loopback and not _is_loopback_name(coordinator.host):
        host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    return coordinator._replace(host=host)


def _is_loopback_name(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def call_roll(listening: Address, count: int, *, timeout_s: float | int) -> None:
    """Waits on process 0 until all others have come, and lets them go on.

    Raises:
      InputError: The port is busy; two processes say that they are the same one; or one was told of
        another number of them. All that have come get the same error.
      JaxfidError: Not all have come in time.
    """
    with contextlib.ExitStack() as connections:
        waiting: dict[int, socket.socket] = {}
        try:
            with _listen(listening, count) as listener:
                arrivals = _arrivals(listener, connections, timeout_s)
                while len(waiting) < count - 1 and (arrival := next(arrivals, None)):
                    seat, connection = arrival
                    _check_seat(seat, waiting, count, connection)
                    waiting[seat.index] = connection
            _require_all(waiting, count, timeout_s)
        except JaxfidError as error:
            # Those that wait are told, or each would sit out its own time limit and give a worse reason.
            _tell(waiting, f"{type(error).__name__}: {error}")
            raise
        _tell(waiting, GO)


def answer_roll(coordinator: Address, seat: Seat, *, timeout_s: float | int) -> None:
    """Tells process 0 that this process has come, and waits until all have.

    Raises:
      InputError: Another program listens there, or process 0 says that this process is not expected.
      JaxfidError: Process 0 did not come in time, or does not go on because another process did not.
    """
    end = time.monotonic() + timeout_s
    with _reach(coordinator, end, timeout_s) as connection:
        # Process 0 ends its own wait a little later than this one, when it began later.
        connection.settimeout(timeout_s + LINE_S)
        try:
            connection.sendall(json.dumps(["jaxfid", *seat]).encode() + b"\n")
            answer = json.loads(_read_line(connection))
        except (OSError, ValueError) as error:
            raise InputError(
                f"coordinator: what listens at {coordinator} is not process 0 of a run that begins: another "
                "program, or a run that has begun with other processes. Choose a free port, and give each "
                "process another process_id"
            ) from error
    if answer != GO:
        kind, _, message = str(answer).partition(": ")
        raise (InputError if kind == InputError.__name__ else JaxfidError)(f"process 0: {message}")


def _listen(address: Address, count: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(
            address, family=family, backlog=count, dualstack_ipv6=address.host == "::"
        )
    except OSError as error:
        raise InputError(
            f"coordinator: process 0 cannot listen at {address}: {error.strerror}. Choose a free port and an "
            "address of this machine. Only one process has process_id 0. JAX_COORDINATOR_BIND_ADDRESS says "
            "where to listen, if the others reach this machine by an address that is not its own"
        ) from error


def _arrivals(
    listener: socket.socket, connections: contextlib.ExitStack, timeout_s: float | int
) -> Iterator[tuple[Seat, socket.socket]]:
    """Gives who comes until the time is up; what is not one of ours is hung up on."""
    end = time.monotonic() + timeout_s
    while (left_s := end - time.monotonic()) > 0:
        listener.settimeout(left_s)
        with contextlib.suppress(OSError, ValueError, TypeError):
            connection, _ = listener.accept()
            connections.enter_context(connection)
            connection.settimeout(LINE_S)
            greeting, index, count = json.loads(_read_line(connection))
            if greeting == "jaxfid":
                yield Seat(int(index), int(count)), connection


def _check_seat(
    seat: Seat, waiting: dict[int, socket.socket], count: int, connection: socket.socket
) -> None:
    if seat.count != count:
        fault = f"num_processes is {count} on process 0, {seat.count} on process {seat.index}"
    elif seat.index in waiting or not 0 < seat.index < count:
        fault = f"process_id: two processes say that they are process {seat.index} of {count}"
    else:
        return
    error = InputError(f"{fault}. Give all the same num_processes, and each its own process_id")
    _tell({seat.index: connection}, f"InputError: {error}")
    raise error


def _require_all(waiting: dict[int, socket.socket], count: int, timeout_s: float | int) -> None:
    absent = sorted(set(range(1, count)) - set(waiting))
    if absent:
        raise JaxfidError(
            f"of {count} processes, {', '.join(map(str, absent))} did not come within {timeout_s:g} s. Start "
            "all with the same coordinator, or allow more time with start_timeout_s (--start-timeout)"
        )


def _tell(waiting: dict[int, socket.socket], answer: str) -> None:
    for connection in waiting.values():
        with contextlib.suppress(OSError):  # it has died, and cannot be told
            connection.sendall(json.dumps(answer).encode() + b"\n")


def _reach(coordinator: Address, end: float, timeout_s: float | int) -> socket.socket:
    while True:
        left_s = end - time.monotonic()
        try:
            return socket.create_connection(coordinator, timeout=max(left_s, PAUSE_S))
        except OSError as error:  # it is not there yet, or its name is not known yet
            if left_s <= 0:
                raise JaxfidError(
                    f"process 0 did not come to {coordinator} within {timeout_s:g} s ({error}). Start all "
                    "with the same coordinator, or allow more time with start_timeout_s (--start-timeout)"
                ) from error
            time.sleep(PAUSE_S)


def _read_line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.readline(LINE_BYTES)
