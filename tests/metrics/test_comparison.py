import math

import numpy as np
import pytest

from jaxfid.metrics.comparison import compare_sets
from jaxfid.result import Comparison, MetricValue, Result, SetResult

NOISE = np.random.default_rng(0).normal(size=1000)
NUM_IMAGES = 4000


def scored(name, value, influence=NOISE, metric="fid", num_images=NUM_IMAGES):
    stderr = None if influence is None else float(influence.std(ddof=1) / np.sqrt(num_images))
    return SetResult(name, num_images, {metric: MetricValue(value, stderr, influence=influence)})


def test_every_other_set_is_compared_with_the_best_of_the_metric():
    found = compare_sets([scored("a", 3.0), scored("b", 2.0), scored("c", 2.5)])
    assert [(c.best, c.other, c.difference) for c in found] == [("b", "c", 0.5), ("b", "a", 1.0)]


def test_more_is_better_where_the_metric_says_so():
    found = compare_sets(
        [scored("a", 0.5, metric="precision"), scored("b", 0.7, 9 * NOISE, metric="precision")]
    )
    assert [(c.best, c.other) for c in found] == [("b", "a")]
    assert found[0].difference == pytest.approx(-0.2)
    assert str(found[0]).startswith(
        "b is 0.20 +- 0.12 higher in precision than a by sampling alone: "
    )


def test_images_of_one_noise_are_compared_in_pairs():
    other = NOISE + 0.01 * np.random.default_rng(1).normal(size=1000)
    (paired,) = compare_sets([scored("a", 2.0), scored("b", 2.5, other)])
    assert paired.stderr == pytest.approx(np.std(other - NOISE, ddof=1) / np.sqrt(NUM_IMAGES))
    (apart,) = compare_sets([scored("a", 2.0), scored("b", 2.5, other[:500])])
    assert apart.stderr > 50 * paired.stderr
    (sizes,) = compare_sets([scored("a", 2.0), scored("b", 2.5, other, num_images=3000)])
    assert sizes.stderr > 50 * paired.stderr


def test_a_small_gap_of_single_sets_is_inconclusive_whatever_its_error():
    (found,) = compare_sets([scored("a", 2.0), scored("b", 2.02)])
    assert found.p_value < 1e-6
    assert not found.conclusive
    assert "inconclusive: within what retraining does" in str(found)


def test_p_values_are_corrected_for_the_number_of_sets():
    rng = np.random.default_rng(1)
    sets = [scored("a", 2.0, rng.normal(size=1000)), scored("b", 2.05, rng.normal(size=1000))]
    (alone,) = compare_sets(sets)
    many = compare_sets([*sets, *(scored(n, 2.06, rng.normal(size=1000)) for n in "cde")])
    assert many[0].other == "b"
    assert many[0].p_value > alone.p_value
    assert "(4 comparisons)" in str(many[0])


def test_sets_without_influences_or_values_are_left_out():
    left_out = [scored("b", 2.5, None), scored("c", math.nan), scored("d", None)]
    assert compare_sets([scored("a", 2.0), *left_out]) == []
    assert compare_sets([]) == []


def test_two_sets_of_one_name_are_both_compared():
    assert len(compare_sets([scored("a", 2.0), scored("a", 2.5), scored("b", 3.0)])) == 2


def test_the_sentence_survives_json():
    results = [scored("a", 2.0), scored("b", 2.5)]
    result = Result({}, {}, {}, {}, results, compare_sets(results))
    again = Result.from_json(result.to_json()).comparisons[0]
    assert isinstance(again, Comparison)
    assert str(again) == str(result.comparisons[0])
    assert "by sampling alone: more than chance; another training seed may move it" in str(again)
