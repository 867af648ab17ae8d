import math

import numpy as np
import pytest
import scipy.stats

from jaxfid.metrics.model_difference import RETRAINING_SHARE, compare_models
from jaxfid.metrics.replicates import summarise_replicates

RNG = np.random.default_rng(0)


def model(name, values, stderr=None, seeds="training seeds"):
    values = np.atleast_1d(values).tolist()
    stderrs = [] if stderr is None else [stderr] * len(values)
    return summarise_replicates(name, values, stderrs, seeds=seeds)


def three_around(mean, spread):
    """Returns three values of exactly this mean and standard deviation."""
    return mean + spread * np.array([-1.0, 0.0, 1.0])


def test_replicates_are_compared_by_welchs_test():
    a, b = RNG.normal(2.5, 0.1, 4), RNG.normal(2.2, 0.03, 3)
    found = compare_models(model("A", a), model("B", b))
    expected = scipy.stats.ttest_ind(a, b, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.stderr == pytest.approx(found.difference / abs(expected.statistic))
    assert (found.lower, found.higher, found.counts) == ("B", "A", (3, 4))


def test_order_of_models_changes_nothing():
    a, b = model("A", [2.5, 2.4], 0.1), model("B", [2.2, 2.3], 0.1)
    assert compare_models(a, b) == compare_models(b, a)


def test_one_set_against_replicates_is_as_uncertain_as_one_of_them():
    found = compare_models(model("A", [2.5, 2.4, 2.45]), model("B", 2.2))
    stderr = np.std([2.5, 2.4, 2.45], ddof=1) * np.sqrt(1 + 1 / 3)
    assert found.stderr == pytest.approx(stderr)
    assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(0.25 / stderr, 2))
    assert str(found).startswith("B is 0.250 +- 0.058 lower than A over 1 and 3 training seeds: ")


def test_single_sets_are_compared_by_sampling():
    independent = compare_models(model("A", 2.5, 0.03), model("B", 2.2, 0.04))
    assert independent.stderr == pytest.approx(0.05)
    paired = compare_models(model("A", 2.5, 0.03), model("B", 2.2, 0.04), paired_stderr=0.01)
    assert paired.stderr == 0.01
    assert paired.p_value == pytest.approx(2 * scipy.stats.norm.sf(30))
    assert (independent.basis, paired.basis) == ("sampling", "sampling")


def test_sentence_over_training_seeds():
    a, b = three_around(2.81, 0.0612), three_around(2.50, 0.0612)
    found = compare_models(model("A", a, 0.01), model("B", b, 0.01), metric="fid")
    assert (
        str(found)
        == "B is 0.310 +- 0.050 lower in fid than A over 3 training seeds: more than chance"
    )
    wide = compare_models(model("A", three_around(2.81, 0.6)), model("B", three_around(2.5, 0.6)))
    assert str(wide).endswith("over 3 training seeds: not more than chance may do")


def test_sentence_by_sampling_alone():
    found = compare_models(model("A", 2.81), model("B", 2.5), paired_stderr=0.03)
    assert str(found) == (
        "B is 0.310 +- 0.030 lower than A by sampling alone: more than chance; "
        "another training seed may move it three times as far"
    )


def test_sentence_over_noise_seeds_does_not_speak_of_training():
    a, b = (model(n, three_around(m, 0.01), seeds="noise seeds") for n, m in (("A", 3), ("B", 2)))
    found = compare_models(a, b)
    assert "over 3 noise seeds: more than chance; another training seed may move it" in str(found)


def test_a_small_difference_without_retraining_is_inconclusive_whatever_the_sampling_error():
    found = compare_models(model("A", 2.53), model("B", 2.5), paired_stderr=1e-4)
    assert found.p_value < 1e-9
    assert not found.conclusive
    assert "; inconclusive: within what retraining does" in str(found)
    assert "The FID Lottery, 2026" in str(found)
    drawn = [
        model(n, three_around(m, 1e-4), seeds="noise seeds") for n, m in (("A", 2.53), ("B", 2.5))
    ]
    assert not compare_models(*drawn).conclusive


def test_a_small_difference_over_training_seeds_may_be_conclusive():
    a, b = (model(n, three_around(m, 1e-4)) for n, m in (("A", 2.53), ("B", 2.5)))
    assert compare_models(a, b).conclusive


def test_the_bound_of_retraining_is_relative():
    below, above = (
        compare_models(model("A", 100.0), model("B", 100 * (1 - share)), paired_stderr=1e-3)
        for share in (RETRAINING_SHARE - 1e-6, RETRAINING_SHARE + 1e-6)
    )
    assert below.within_retraining
    assert not above.within_retraining


def test_without_any_error_there_is_no_verdict():
    found = compare_models(model("A", 2.8), model("B", 2.5))
    assert (found.basis, found.p_value, found.conclusive) == ("nothing", None, False)
    assert str(found).startswith("B is 0.3 lower than A with no error known: no verdict; another")


def test_equal_values_without_spread_are_not_told_apart():
    same = compare_models(model("A", [2.5, 2.5]), model("B", [2.5, 2.5]))
    assert (same.p_value, same.conclusive) == (1, False)
    apart = compare_models(model("A", [2.5, 2.5]), model("B", [2.6, 2.6]))
    assert (apart.p_value, apart.conclusive) == (0, True)


@pytest.mark.parametrize("counts", [(3, 3), (5, 3), (4, 1)])
def test_equal_models_seem_to_differ_as_rarely_as_the_level_says(counts):
    rng = np.random.default_rng(1)
    draws = 1000
    found = [
        compare_models(
            *(model(n, rng.normal(2, 0.1, c)) for n, c in zip("AB", counts, strict=True))
        )
        for _ in range(draws)
    ]
    share = np.mean([difference.conclusive for difference in found])
    # 1,000 draws of 0.05: a standard error of 0.007. Welch's test of three is on the safe side by 0.015.
    assert 0.05 - 0.015 - 3 * 0.007 < share < 0.05 + 3 * 0.007


def test_unequal_models_are_told_apart():
    rng = np.random.default_rng(2)
    found = [
        compare_models(model("A", rng.normal(2.5, 0.05, 3)), model("B", rng.normal(2.2, 0.05, 3)))
        for _ in range(300)
    ]
    # Seven standard errors apart, on four degrees of freedom.
    assert np.mean([difference.conclusive for difference in found]) > 0.95


def test_a_single_set_moves_at_least_as_far_as_its_own_sampling_does():
    steady = model("A", [2.0, 2.001, 2.002])  # which spreads far less than the set's images do
    found = compare_models(steady, summarise_replicates("B", [2.5], [0.3]))
    assert found.stderr == pytest.approx(math.hypot(0.001 / math.sqrt(3), 0.3))
    assert not found.conclusive
    known = compare_models(steady, summarise_replicates("B", [2.5], [0.0001]))
    assert known.stderr == pytest.approx(0.001 * math.sqrt(1 + 1 / 3))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_verdict_does_not_depend_on_the_unit(scale):
    a, b = np.array([2.0, 2.1, 2.2]), np.array([2.3, 2.35, 2.5])
    plain = compare_models(model("A", a), model("B", b))
    scaled = compare_models(model("A", a * scale), model("B", b * scale))
    # Some operations more, each rounded to 1e-16.
    assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-12)
    assert scaled.stderr == pytest.approx(plain.stderr * scale, rel=1e-12)
