"""Laws of several processes: what they put together, what they tell each other, what a death does."""

import dataclasses
import json
import time

import numpy as np
import pytest

from jaxfid.distributed.group import ProcessGroup
from tests.distributed.loopback import finish, free_port, processes
from tests.distributed.process_worker import TIMEOUT_S
from tests.extraction.interrupted import NUM_IMAGES, Fragile, run

COUNT = 4


@dataclasses.dataclass
class Met:
    """What a launch of four processes found, one launch for all since each start takes seconds.

    Attributes:
      found: By process, from the time when all lived.
      errors: By process, of those that outlived the last one; with the seconds that it took.
      ends: Exit code and stderr of those that process 0 left behind, and the seconds that it took.
    """

    found: list[dict]
    errors: list[dict]
    ends: list[tuple[int, str]]
    ends_after_s: float


@pytest.fixture(scope="module")
def met() -> Met:
    port = str(free_port())
    worker = ["-m", "tests.distributed.process_worker"]
    with processes([[*worker, str(index), str(COUNT), port] for index in range(COUNT)]) as started:
        found = [next_json(process) for process in started]
        for process in started:
            assert process.stdout.readline() == "ready\n"
        started[-1].kill()
        errors = [next_json(process) for process in started[:-1]]
        started[0].kill()
        died = time.monotonic()
        ended = finish(started[1:-1])
        return Met(found, errors, [(c, e) for c, _, e in ended], time.monotonic() - died)


def next_json(process) -> dict:
    """The next line of JSON; the library under the collectives writes lines of its own."""
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise AssertionError(process.stderr.read())


def draws(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(index)
    return rng.standard_normal((3, 5)), rng.standard_normal((2 * index, 3)).astype(np.float32)


def test_sums_are_float64_and_the_same_everywhere(met):
    expected = sum(draws(index)[0] for index in range(COUNT))
    for found in met.found:
        np.testing.assert_array_equal(found["total"]["a"], expected)  # to the bit: in order
        assert found["total"]["b"] == 10 * (1 + 2.0**-40)  # which float32 would round to 10


def test_arrays_of_different_lengths_are_gathered_in_the_order_of_the_processes(met):
    for found in met.found:
        assert found["ragged"][0] == []
        for index in range(1, COUNT):
            np.testing.assert_array_equal(np.float32(found["ragged"][index]), draws(index)[1])
        assert found["wide"] == [[2**40 + i + k for k in range(3)] for i in range(COUNT)]


def test_shares_of_a_source_add_up_to_the_whole(met):
    moments, store, skipped = run(None, Fragile(broken=11))
    assert np.sum([found["own count"] for found in met.found]) == NUM_IMAGES - 1
    for found in met.found:
        np.testing.assert_array_equal(found["moments"]["count"], moments.count)
        # float32 features of values below 1, computed by programs of other shapes
        np.testing.assert_allclose(found["moments"]["outer"], moments.outer, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found["features"], store.features(), rtol=0, atol=1e-6)
        assert found["skipped"] == [one.key for one in skipped] == ["11"]
    assert met.found[0]["moments"] == met.found[-1]["moments"]  # to the bit


def test_each_process_has_its_own_devices(met):
    assert [found["num_devices"] for found in met.found] == [2] * COUNT


def test_a_difference_is_named_with_both_values_on_every_process(met):
    for found in met.found:
        kind, message = found["differ"]
        assert kind == "InputError"
        seen = '"clean" on processes 0, 2, "legacy_pytorch" on processes 1, 3'
        assert f"protocol is {seen}" in message
        assert "images is 10 on process 0, 11 on process 1, 12 on process 2" in message
        assert "same" not in message.replace("the same evaluation", "")


def test_an_error_on_one_process_is_an_error_of_the_same_kind_on_all(met):
    message = "process 3 of 4 failed: cat.png: cannot be read"
    assert [found["fail"] for found in met.found[:-1]] == [["InputError", message]] * 3
    assert met.found[-1]["fail"] == ["InputError", "cat.png: cannot be read"]


def test_the_next_evaluation_is_not_disturbed_by_one_that_failed(met):
    texts = [f"text of {index}" for index in range(COUNT)]
    assert [found["afterwards"] for found in met.found] == [texts] * COUNT


def test_the_others_fail_in_the_stated_time_when_one_has_died(met):
    for found in met.errors:
        kind, message = found["error"]
        assert kind == "LostProcessError"
        assert "of 4 processes, nothing was heard of 3 for 6 s" in message
        assert TIMEOUT_S - 1 < found["after_s"] < 2 * TIMEOUT_S  # and as much for a busy machine


def test_jax_ends_the_others_when_process_0_has_died(met):
    assert met.ends_after_s < TIMEOUT_S
    for code, stderr in met.ends:
        assert code != 0
        assert "JAX distributed service" in stderr


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
