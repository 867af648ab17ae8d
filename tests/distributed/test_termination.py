"""SIGTERM ends a pass after the batch that is under way, with what was kept written down."""

import os
import signal
import threading

import pytest

from jaxfid.distributed.termination import (
    EXIT_CODE,
    Terminated,
    deferred_sigterm,
    raise_if_terminated,
    sigterm_raises,
)
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
