import math

import numpy as np
import pytest
import scipy.stats

from jaxfid.errors import InputError
from jaxfid.metrics.replicates import summarise_replicates

VALUES = (2.31, 2.45, 2.38)


def test_mean_spread_and_interval_are_students():
    found = summarise_replicates("A", VALUES)
    assert found.mean == pytest.approx(np.mean(VALUES))
    assert found.spread == pytest.approx(np.std(VALUES, ddof=1))
    expected = scipy.stats.t.interval(0.95, 2, np.mean(VALUES), scipy.stats.sem(VALUES))
    assert found.interval == pytest.approx(expected, rel=1e-12)
    assert found.count == 3


def test_one_replicate_has_no_spread():
    found = summarise_replicates("A", [2.3], [0.05])
    assert (found.mean, found.spread, found.stderr, found.interval) == (2.3, None, None, None)
    assert found.sampling == 0.05
    assert str(found) == "A: 2.300 +- 0.050 (one replicate)"


def test_equal_replicates_have_an_interval_of_one_point():
    found = summarise_replicates("A", [2.5, 2.5])
    assert (found.spread, found.interval) == (0, (2.5, 2.5))


def test_share_that_sampling_explains():
    spread = np.std(VALUES, ddof=1)
    half = summarise_replicates("A", VALUES, [spread / np.sqrt(2)] * 3)
    assert half.sampling_share == pytest.approx(0.5)
    assert summarise_replicates("A", VALUES, [9.0] * 3).sampling_share == 1
    assert summarise_replicates("A", [1.0, 1.0], [0.0, 0.0]).sampling_share == 1
    assert summarise_replicates("A", VALUES, [0.1, None, 0.1]).sampling_share is None
    assert summarise_replicates("A", VALUES, [0.1, math.nan, 0.1]).sampling_share is None
    assert summarise_replicates("A", VALUES).sampling_share is None


def test_a_line_says_over_what_it_is():
    found = summarise_replicates("A", VALUES, [0.04, 0.05, 0.03])
    assert (
        str(found)
        == "A: 2.380 +- 0.040 over 3 training seeds, sampling explains 34% of their variance"
    )
    drawn = summarise_replicates("A", VALUES, seeds="noise seeds")
    assert str(drawn) == "A: 2.380 +- 0.040 over 3 noise seeds"


@pytest.mark.parametrize("count", [3, 5])
def test_interval_holds_the_models_mean_as_often_as_it_says(count):
    rng = np.random.default_rng(0)
    samples = rng.normal(2.0, 0.1, size=(2000, count))
    intervals = [summarise_replicates("A", sample.tolist()).interval for sample in samples]
    covered = np.mean([low <= 2.0 <= high for low, high in intervals])
    # 2,000 draws of a share of 0.95: a standard error of 0.005.
    assert covered == pytest.approx(0.95, abs=3 * 0.005)


def test_sampling_share_is_right_on_average():
    rng = np.random.default_rng(0)
    training, sampling = 0.3, 0.1
    values = rng.normal(0, np.hypot(training, sampling), size=(500, 20))
    shares = [summarise_replicates("A", v.tolist(), [sampling] * 20).sampling_share for v in values]
    # Of the variance 0.1 is sampling's. 1 / variance is 2 / 17 too large on average over 20; 500 sets.
    assert np.mean(shares) == pytest.approx(0.1 * 19 / 17, rel=0.05)


@pytest.mark.parametrize(
    ("values", "stderrs", "message"),
    [
        ([], [], "A: expected one finite value or more, found"),
        ([1.0, math.nan], [], "A: expected one finite value or more, found"),
        ([1.0, 2.0], [0.1], "A: expected 2 standard errors, found 1"),
    ],
)
def test_refuses(values, stderrs, message):
    with pytest.raises(InputError, match=message):
        summarise_replicates("A", values, stderrs)


def test_values_whose_sum_is_no_float_are_refused_and_large_errors_are_not():
    with pytest.raises(InputError, match="A: expected smaller values, found"):
        summarise_replicates("A", [1.7e308, 1.7e308])
    assert summarise_replicates("A", [1.0], [1e200]).sampling == 1e200
