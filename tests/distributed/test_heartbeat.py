"""Laws of the heartbeat and of agreement, with the processes as threads and a dictionary as the store."""

import concurrent.futures
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

import jaxfid
from jaxfid.distributed.group import ProcessGroup, alone, one_evaluation, process_group
from jaxfid.distributed.heartbeat import Heartbeat
from jaxfid.distributed.roll_call import Seat
from jaxfid.distributed.runtime import Runtime
from jaxfid.distributed.termination import Terminated, sigterm_raises
from jaxfid.errors import InputError, JaxfidError


class Dictionary:
    """A store as the runtime's, in this process."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self._texts
        self._texts[key] = value

    def key_value_dir_get(self, key):
        return [(k, text) for k, text in list(self._texts.items()) if k.startswith(key)]


@contextlib.contextmanager
def groups(count: int = 2, **options) -> Iterator[list[ProcessGroup]]:
    store, options = Dictionary(), {"timeout_s": 2.0, "start_timeout_s": 20.0} | options
    hearts = [Heartbeat(Runtime(store, Seat(i, count)), **options) for i in range(count)]
    try:
        yield [ProcessGroup(heart) for heart in hearts]
    finally:
        for heart in hearts:
            heart.close()


def on_each(groups: list[ProcessGroup], do: Callable) -> list[BaseException | None]:
    """What each process raises from one evaluation."""

    def evaluate(group: ProcessGroup) -> None:
        with group.one_evaluation():
            do(group)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        return [f.exception() for f in [threads.submit(evaluate, group) for group in groups]]


def until_told(group: ProcessGroup) -> None:
    while True:
        group.check()
        time.sleep(0.02)


def test_a_process_that_begins_no_evaluation_is_named_in_time():
    began = time.monotonic()
    with groups(3, start_timeout_s=0.3) as (first, second, _):
        errors = on_each([first, second], lambda group: group.exchange("text"))
    assert time.monotonic() - began < 5
    for error in errors:
        assert type(error) is JaxfidError
        assert "of 3 processes, 2 did not begin this evaluation within 0.3 s" in str(error)
        assert "compute_stats(images, local=True)" in str(error)


def test_a_process_that_has_begun_may_be_slow():
    def meet(group: ProcessGroup) -> None:
        time.sleep(group.index)
        assert group.exchange(f"text of {group.index}") == ["text of 0", "text of 1"]

    with groups(start_timeout_s=0.3) as both:
        assert on_each(both, meet) == [None, None]


def test_one_that_is_asked_to_end_ends_all():
    def end(group: ProcessGroup) -> None:
        if group.index == 1:
            raise Terminated("ended by SIGTERM")
        until_told(group)

    with groups() as both:
        first, second = on_each(both, end)
    assert type(first) is type(second) is Terminated
    assert str(first) == "process 1 of 2 ended by SIGTERM"


def test_a_set_that_differs_is_named_as_each_process_calls_it():
    def agree(group: ProcessGroup) -> None:
        facts = {"listing of set 0": "a" * 64, "listing of set 1": "0f"[group.index] * 64}
        group.require_agreement(facts, sets=["real", f"samples/{group.index}.npz"])

    with groups() as both:
        errors = on_each(both, agree)
    for error in errors:
        assert type(error) is InputError
        message = str(error)
        assert 'listing of set 1 is "000000000000..." on process 0, "ffffffffffff..."' in message
        assert 'set 1 is "samples/0.npz" on process 0, "samples/1.npz" on process 1' in message
        assert "set 0" not in message
        assert "call compute_stats(images, local=True)" in message


def test_sets_of_other_names_that_hold_the_same_are_the_same():
    with groups() as both:
        errors = on_each(both, lambda g: g.require_agreement({"a": 1}, sets=[f"/mnt/{g.index}/x"]))
    assert errors == [None, None]


def test_alone_waits_for_nobody(monkeypatch):
    with groups(start_timeout_s=0.3) as (first, _):
        monkeypatch.setattr("jaxfid.distributed.group._group", first)
        evaluate = one_evaluation(lambda: process_group().exchange("text"))
        with alone():
            assert evaluate() == ["text"]
            assert (process_group().index, process_group().count) == (0, 1)
        assert process_group() is first
        with pytest.raises(JaxfidError, match="did not begin this evaluation"):
            evaluate()


@pytest.mark.parametrize("version", [(0, 7, 9), (0, 13, 0), (1, 0, 0)])
def test_a_version_of_jax_that_is_not_known_is_refused(monkeypatch, version):
    monkeypatch.setattr(jax, "__version_info__", version)
    with pytest.raises(JaxfidError, match=r"known to work with JAX 0\.8 to 0\.12, found"):
        jaxfid.initialize_distributed()


@pytest.mark.parametrize("name", ["timeout_s", "start_timeout_s"])
def test_waiting_times_are_bounded_from_below(name):
    with pytest.raises(InputError, match=f"^{name}: expected at least 1, found 0"):
        jaxfid.initialize_distributed(**{name: 0})


@pytest.mark.parametrize("combine", ["gather", "total"])
def test_a_sigterm_waits_until_all_have_been_combined(monkeypatch, combine):
    """The others are in the collective as soon as this process has told them that it comes."""
    met = []

    def allgather(part):
        met.append(len(part))
        return np.stack([part, part])

    def told(text):
        os.kill(os.getpid(), signal.SIGTERM)
        return [text, text]

    monkeypatch.setattr(multihost_utils, "process_allgather", allgather)
    with groups() as (group, _):
        monkeypatch.setattr(group, "exchange", told)
        with pytest.raises(Terminated), sigterm_raises():
            getattr(group, combine)(np.arange(4.0))
    assert met == [8]  # words of four float64
