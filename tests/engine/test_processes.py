"""Laws of several processes: what they put together, what they tell each other, what a death does."""

import json
import time

import numpy as np
import pytest

import jaxfid
from jaxfid.engine.processes import ProcessGroup
from jaxfid.errors import InputError
from tests.engine.loopback import finish, free_port, processes

WORKER = "tests.engine.process_worker"


def worker(scenario: str, count: int) -> list[list[str]]:
    port = str(free_port())
    return [["-m", WORKER, scenario, str(index), str(count), port] for index in range(count)]


def last_line(stdout: str) -> dict:
    return json.loads(stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def met():
    """What each of two processes found; one launch, since a start takes seconds."""
    with processes(worker("meet", 2)) as started:
        ended = finish(started)
    assert [code for code, _, _ in ended] == [0, 0], ended
    return [last_line(stdout) for _, stdout, _ in ended]


def draws(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(index)
    return rng.standard_normal((3, 5)), rng.standard_normal((2 * index, 3)).astype(np.float32)


def test_sums_are_float64_and_the_same_everywhere(met):
    expected = draws(0)[0] + draws(1)[0]
    for found in met:
        np.testing.assert_array_equal(found["total"]["a"], expected)  # to the bit: one addition
        assert found["total"]["b"] == 3 * (1 + 2.0**-40)  # which float32 would round to 3


def test_arrays_of_different_lengths_are_gathered_in_the_order_of_the_processes(met):
    for found in met:
        assert found["ragged"][0] == []
        np.testing.assert_array_equal(np.float32(found["ragged"][1]), draws(1)[1])
        assert found["wide"] == [[2**40 + i + k for k in range(3)] for i in range(2)]


def test_each_process_has_its_own_devices(met):
    assert [found["num_devices"] for found in met] == [2, 2]


def test_a_difference_is_named_with_both_values_on_every_process(met):
    for found in met:
        kind, message = found["differ"]
        assert kind == "InputError"
        assert 'protocol is "clean" on process 0, "legacy_pytorch" on process 1' in message
        assert "images is 10 on process 0, 11 on process 1" in message
        assert "same" not in message.replace("the same evaluation", "")


def test_an_error_on_one_process_is_an_error_of_the_same_kind_on_all(met):
    assert met[0]["fail"] == ["InputError", "process 1 of 2 failed: cat.png: cannot be read"]
    assert met[1]["fail"] == ["InputError", "cat.png: cannot be read"]


def test_the_next_evaluation_is_not_disturbed_by_one_that_failed(met):
    assert [found["afterwards"] for found in met] == [["text of 0", "text of 1"]] * 2


@pytest.mark.parametrize("victim", [0, 2])
def test_the_death_of_a_process_ends_the_others_in_the_stated_time(victim):
    with processes(worker("wait", 3)) as started:
        for process in started:
            assert "ready" in process.stdout.readline()
        started[victim].kill()
        died = time.monotonic()
        others = [process for process in started if process is not started[victim]]
        ended = finish(others)
        elapsed_s = time.monotonic() - died
    assert elapsed_s < 6 + 6  # the worker's timeout, and as much for a busy machine
    for code, stdout, stderr in ended:
        if victim == 0:  # JAX itself ends the others when the process they meet at is gone
            assert code != 0
            assert "JAX distributed service" in stderr
        else:
            kind, message = last_line(stdout)["error"]
            assert kind == "JaxfidError"
            assert "nothing was heard of 2 for 6 s" in message


def test_alone_there_is_nobody_to_wait_for():
    group = ProcessGroup()
    array = np.arange(3.0)
    assert (group.index, group.count) == (0, 1)
    assert group.exchange("a") == ["a"]
    assert group.gather(array)[0] is array
    assert group.total({"a": array})["a"] is array
    with group.one_evaluation():
        group.require_agreement({"protocol": "clean"})
    with pytest.raises(KeyError), group.one_evaluation():
        raise KeyError


def test_silence_is_bounded_from_below():
    with pytest.raises(InputError, match="timeout_s: expected at least 1, found 0"):
        jaxfid.initialize_distributed(timeout_s=0)
