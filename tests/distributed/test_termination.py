"""SIGTERM ends a pass after the batch that is under way, with what was kept written down."""

import os
import signal
import threading

import pytest
from jax._src.distributed import global_state

from jaxfid.distributed import runtime
from jaxfid.distributed.group import ProcessGroup
from jaxfid.distributed.heartbeat import Heartbeat
from jaxfid.distributed.termination import (
    EXIT_CODE,
    Terminated,
    deferred_sigterm,
    raise_if_terminated,
    sigterm_raises,
)
from tests.distributed.loopback import finish, free_port, processes
from tests.extraction import interrupted
from tests.extraction.interrupted import BATCH_SIZE, Fragile, run


def ask_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class Asked(Fragile):
    """The images; on reading one of them SIGTERM comes."""

    def read(self, index):
        if index == 2 * BATCH_SIZE + 3:
            ask_to_end()
        return super().read(index)


def test_a_pass_keeps_its_batches_and_goes_on_when_started_again(tmp_path):
    path, seldom = tmp_path / "set.npz", {"every_s": 3600.0}  # no other snapshot comes
    with sigterm_raises(), pytest.raises(Terminated, match="ended by SIGTERM"):
        run(path, Asked(), check=raise_if_terminated, **seldom)
    first_unseen = 3 * BATCH_SIZE
    deadly = Fragile(deadly=first_unseen - 1)  # were it read again, the process would die
    moments, store, _ = run(path, deadly, **seldom)
    assert len(store.features()) == moments.count.sum() == interrupted.NUM_IMAGES


def test_outside_of_a_pass_it_ends_at_once():
    with sigterm_raises(), pytest.raises(Terminated) as caught:
        ask_to_end()
        pytest.fail("not reached")
    assert caught.value.exit_code == EXIT_CODE == 143


def test_in_a_pass_without_checks_it_ends_after_the_last_batch():
    reached = []
    with sigterm_raises(), pytest.raises(Terminated), deferred_sigterm():
        ask_to_end()
        reached.append(True)
    assert reached


def test_a_second_one_ends_at_once():
    with sigterm_raises(), pytest.raises(Terminated), deferred_sigterm():
        ask_to_end()
        ask_to_end()
        pytest.fail("not reached")


def test_the_handler_of_the_program_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_raises():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    raise_if_terminated()  # nothing is left of earlier ones


def test_a_thread_may_run_a_command():
    def command():
        with sigterm_raises():
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=command)
    thread.start()
    thread.join()
    assert done


def test_ordinary_handlers_of_errors_do_not_catch_it():
    assert not issubclass(Terminated, Exception)


class Well(Heartbeat):
    """A heartbeat of which nothing is to be told."""

    def __init__(self):
        self.index, self.count = 0, 2

    def check(self):
        pass


def test_jaxs_own_notice_ends_a_pass_with_what_is_kept(tmp_path, monkeypatch):
    steps = []

    class Manager:
        def reached_sync_point(self, step):
            steps.append(step)
            return step == 3

    group = ProcessGroup(Well())
    group.check()  # a runtime without the service is not asked
    monkeypatch.setattr(global_state, "client", object())
    monkeypatch.setattr(global_state, "preemption_sync_manager", Manager())
    path, seldom = tmp_path / "set.npz", {"every_s": 3600.0}
    with pytest.raises(Terminated, match="ended by JAX's notice of preemption"):
        run(path, Fragile(), check=group.check, **seldom)
    assert steps == [2, 3]
    monkeypatch.undo()
    deadly = Fragile(deadly=2 * BATCH_SIZE - 1)  # were it read again, the process would die
    moments, _, _ = run(path, deadly, **seldom)
    assert moments.count.sum() == interrupted.NUM_IMAGES


def test_alone_jax_is_not_asked(monkeypatch):
    monkeypatch.setattr(runtime.multihost_utils, "reached_preemption_sync_point", None)
    ProcessGroup().check()


@pytest.mark.slow
@pytest.mark.parametrize("preempted", [0, 1])
def test_a_real_notice_to_one_ends_all(preempted):
    port, worker = str(free_port()), ["-m", "tests.distributed.preempted_worker"]
    with processes([[*worker, str(index), "2", port] for index in range(2)]) as started:
        for process in started:
            while (line := process.stdout.readline()) != "ready\n":
                assert line, process.stderr.read()
        started[preempted].send_signal(signal.SIGTERM)
        ended = finish(started)
    assert [code for code, _, _ in ended] == [EXIT_CODE] * 2, ended
    assert all("ended by JAX's notice of preemption" in stdout for _, stdout, _ in ended)
