"""Laws of the roll call: all go on, or each that has come ends with the reason in a sentence."""

import concurrent.futures
import contextlib
import socket

import pytest

from jaxfid.distributed import roll_call
from jaxfid.distributed.roll_call import (
    Address,
    Seat,
    answer_roll,
    call_roll,
    listening_address,
    parse_address,
)
from jaxfid.errors import InputError, JaxfidError
from tests.distributed.loopback import free_port


def meet(*seats: Seat, count: int = 3, timeout_s: float = 30.0) -> list[BaseException | None]:
    """What process 0 raises, and each that comes; those that come do so one after another."""
    address = Address("127.0.0.1", free_port())
    with concurrent.futures.ThreadPoolExecutor() as threads:
        first = threads.submit(call_roll, address, count, timeout_s=timeout_s)
        others = [threads.submit(answer_roll, address, s, timeout_s=timeout_s) for s in seats]
        return [future.exception() for future in (first, *others)]


def test_all_go_on_when_all_have_come():
    assert meet(Seat(2, 3), Seat(1, 3)) == [None] * 3
    assert meet(count=1) == [None]


def test_an_absent_process_is_named_to_all_in_time():
    first, second = meet(Seat(1, 3), timeout_s=0.3)
    message = "of 3 processes, 2 did not come within 0.3 s"
    assert type(first) is type(second) is JaxfidError
    assert str(first).startswith(message)
    assert str(second).startswith(f"process 0: {message}")


def test_an_index_that_two_processes_have_is_named_to_both():
    errors = meet(Seat(1, 3), Seat(1, 3))
    assert [type(error) for error in errors] == [InputError] * 3
    assert all("two processes say that they are process 1 of 3" in str(e) for e in errors)


def test_another_number_of_processes_is_named():
    errors = meet(Seat(1, 4))
    assert all("num_processes is 3 on process 0, 4 on process 1" in str(e) for e in errors)


def test_a_busy_port_is_said_at_once():
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(InputError, match=r"cannot listen at 127\.0\.0\.1:\d+: Address already"):
            call_roll(address, 2, timeout_s=30.0)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(InputError, match=r"cannot listen .* an address of this machine"):
        call_roll(Address("192.0.2.1", free_port()), 2, timeout_s=30.0)


def test_nobody_at_the_address_is_said_in_time():
    with pytest.raises(JaxfidError, match=r"process 0 did not come to .* within 0.3 s"):
        answer_roll(Address("127.0.0.1", free_port()), Seat(1, 2), timeout_s=0.3)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"", b"\x00\xff" * 9000])
def test_another_program_at_the_address_is_told_from_process_0(answer):
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        concurrent.futures.ThreadPoolExecutor() as threads,
    ):
        address = Address("127.0.0.1", other.getsockname()[1])
        found = threads.submit(answer_roll, address, Seat(1, 2), timeout_s=30.0)
        connection, _ = other.accept()
        with connection:
            connection.sendall(answer)
        assert "is not process 0 of a run that begins" in str(found.exception())


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b'["jaxfid", 1]\n', b"7\n", b"x" * 9000])
def test_a_stranger_on_the_port_is_hung_up_on(monkeypatch, line):
    monkeypatch.setattr(roll_call, "LINE_S", 0.2)
    address = Address("127.0.0.1", free_port())
    with concurrent.futures.ThreadPoolExecutor() as threads, contextlib.ExitStack() as strangers:
        first = threads.submit(call_roll, address, 2, timeout_s=30.0)
        for said in (line, b""):  # the second says nothing and does not go
            stranger = strangers.enter_context(connect(address))
            with contextlib.suppress(OSError):
                stranger.sendall(said)
        second = threads.submit(answer_roll, address, Seat(1, 2), timeout_s=30.0)
        assert first.exception() is second.exception() is None


def connect(address: Address) -> socket.socket:
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(address)


@pytest.mark.parametrize(
    ("given", "host"),
    [("127.0.0.1:5", "127.0.0.1"), ("localhost:5", None), ("[::1]:5", "::1"), ("10.1.2.3:5",) * 2],
)
def test_process_0_listens_at_the_address_that_was_given(given, host, monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    found = listening_address(parse_address(given))
    assert found.port == 5
    assert found.host in (("127.0.0.1", "::1") if host is None else (host.removesuffix(":5"),))


def test_a_name_that_hides_the_address_of_its_machine_is_for_all_interfaces(monkeypatch):
    def resolve(host, port, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", port))]

    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert str(listening_address(Address("node7", 5))) in ("[::]:5", "0.0.0.0:5")


def test_the_variable_of_jax_says_where_to_listen(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "[::]:77")
    assert str(listening_address(Address("10.1.2.3", 5))) == "[::]:77"


@pytest.mark.parametrize("text", ["", "host", "host:", ":5", "host:x", "host:0", "host:65536"])
def test_an_address_of_another_form_is_refused(text):
    with pytest.raises(InputError, match="coordinator: expected HOST:PORT"):
        parse_address(text)


def test_an_unknown_name_is_refused(monkeypatch):
    def resolve(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(InputError, match="coordinator: nowhere is not known here"):
        listening_address(Address("nowhere", 5))
