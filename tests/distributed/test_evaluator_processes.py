"""An evaluator on several processes gives one value on each, that of all images, or an error."""

import json

import numpy as np
import pytest

from jaxfid.evaluate import compute_metrics
from tests.distributed.evaluator_worker import (
    GLOBAL,
    NUM_IMAGES,
    make_extractor,
    make_images,
    make_reference,
)
from tests.distributed.loopback import finish, free_port, processes


def launch(count: int) -> list[dict]:
    """Returns what each process found; one launch for all that is tested, since each takes seconds."""
    worker, port = ["-m", "tests.distributed.evaluator_worker"], str(free_port())
    with processes([[*worker, str(index), str(count), port] for index in range(count)]) as started:
        ended = finish(started, timeout_s=600)
    assert [code for code, _, _ in ended] == [0] * count, [text[-2000:] for *_, text in ended]
    # The library under the collectives writes lines of its own.
    lines = [[line for line in out.splitlines() if line.startswith("{")] for _, out, _ in ended]
    return [json.loads(line) for (line,) in lines]


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_get_one_value_or_an_error(count):
    found = launch(count)
    check_that_every_process_gets_the_value_of_all_images(found)
    check_that_this_is_the_images_of_the_process_alone(found)
    check_that_a_merged_state_is_the_same_on_each(found)
    check_that_what_cannot_be_known_is_an_error_on_each(found)


def check_that_every_process_gets_the_value_of_all_images(found):
    result = compute_metrics(make_reference(), [make_images()], extractor=make_extractor())
    expected = result.results[0].metrics["fd_small"].value
    for way in ("auto", "all", "merged", *GLOBAL):
        # float32 features of programs of other shapes; the sums themselves differ by 1e-15.
        assert found[0][way]["value"] == pytest.approx(expected, rel=1e-6), way
        assert found[0][way]["num_images"] == NUM_IMAGES
        assert found[0][way]["stderr"] > 0
        assert all(one[way] == found[0][way] for one in found)  # to the last bit
    # The same features however the arrays are laid out; sums in another order.
    values = [found[0][way]["value"] for way in GLOBAL]
    np.testing.assert_allclose(values, values[0], rtol=1e-9)


def check_that_this_is_the_images_of_the_process_alone(found):
    counts = [one["this"]["num_images"] for one in found]
    assert counts == [NUM_IMAGES // len(found)] * len(found)
    assert len({one["this"]["value"] for one in found}) == len(found)


def check_that_a_merged_state_is_the_same_on_each(found):
    """The same float64 bits, also where x64 is enabled and when it is merged again."""
    assert len({digest for one in found for digest in one["digest"]}) == 1
    assert found[0]["dtype"] == "float64"


def check_that_what_cannot_be_known_is_an_error_on_each(found):
    for one in found:
        assert "call jaxfid.initialize_distributed() once on each" in one["apart"]["error"]
        assert "merged before, whose images would count several times" in one["again"]["error"]
        assert "divided over the processes, found this" in one["divided"]["error"]
