"""An error bar is the spread of independent samples: simulated, with seeds and the chance of each bound."""

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.frechet.distance import prepare_reference
from jaxfid.metrics.frechet.influence import (
    Difference,
    influence_stderr,
    paired_difference,
    unpaired_difference,
    within_classes,
)
from jaxfid.metrics.frechet.solve import solve_frechet

WIDTH, SETS = 16, 150
REFERENCE = prepare_reference(np.zeros(WIDTH), np.eye(WIDTH))
SCALES = np.linspace(0.7, 1.6, WIDTH)


def draw_gaussian(rng, count):
    return rng.normal(size=(count, WIDTH)) * SCALES + 0.2


def draw_heavy(rng, count):
    return rng.laplace(size=(count, WIDTH)) * SCALES / np.sqrt(2) + 0.2


def draw_mixture(rng, count):
    return draw_gaussian(rng, count) + rng.integers(0, 3, count)[:, None] / 2


def solve(rows):
    return solve_frechet(REFERENCE, rows.mean(0), np.cov(rows.T))


def score(rows):
    """A set's distance and its error bar, with and without the curvature."""
    solution = solve(rows)
    influence = solution.influence(rows)
    corrected = influence_stderr(influence, len(rows), curvature=solution.curvature(rows))
    return solution.value, corrected, influence_stderr(influence, len(rows))


def score_many(draw, count):
    """Error bars of many sets, as a share of the spread of the distances: what should be 1."""
    rng = np.random.default_rng(0)
    values, corrected, plain = np.transpose([score(draw(rng, count)) for _ in range(SETS)])
    return corrected / values.std(), plain / values.std()


# 150 sets know their own spread to 6 %, and a mean ratio may be off by twice that. An error bar may be
# off by 10 % from ten images per feature on, and with fewer it may be 20 % too large. The own spread of
# an error bar is that of 16 features; 64 halve it.
@pytest.mark.parametrize("draw", [draw_gaussian, draw_heavy, draw_mixture])
@pytest.mark.parametrize(
    ("per_feature", "least", "most", "own_spread"), [(5, 0.83, 1.32, 0.4), (25, 0.78, 1.22, 0.2)]
)
def test_stderr_is_the_spread_of_independent_samples(draw, per_feature, least, most, own_spread):
    ratios, _ = score_many(draw, per_feature * WIDTH)
    assert least < ratios.mean() < most
    assert ratios.std() < own_spread


def test_curvature_corrects_the_error_of_sets_that_are_the_reference():
    corrected, plain = score_many(lambda rng, n: rng.normal(size=(n, WIDTH)), 25 * WIDTH)
    # In theory sqrt(2) without the curvature and 1 with it.
    assert corrected.mean() < 0.85 * plain.mean()
    assert 0.78 < corrected.mean() < 1.22


def test_stderr_of_kept_rows_is_that_of_the_whole_set():
    rows = draw_gaussian(np.random.default_rng(2), 4000)
    influence = solve(rows).influence(rows)
    # A quarter of the rows knows a standard deviation to 1 / sqrt(2 * 1000), 2 %.
    expected = pytest.approx(influence_stderr(influence, 4000), rel=0.08)
    assert influence_stderr(influence[::4], 4000) == expected


def test_stderr_without_labels_is_the_textbook_one():
    influence = np.random.default_rng(3).normal(size=20)
    expected = pytest.approx(influence.std(ddof=1) / np.sqrt(20), rel=1e-12)
    assert influence_stderr(influence, 20) == expected
    assert influence_stderr(within_classes(influence, np.full(20, "a")), 20) == expected


def test_labels_leave_the_spread_within_classes():
    rng = np.random.default_rng(4)
    labels = np.arange(300) % 3
    noise = rng.normal(size=300)
    found = influence_stderr(within_classes(noise + 10 * labels, labels), 300)
    within = [noise[labels == k].var(ddof=1) for k in range(3)]
    assert found == pytest.approx(np.sqrt(np.mean(within) / 300), rel=1e-12)


def test_class_balanced_sets_vary_as_labels_tell():
    rng = np.random.default_rng(5)
    count = 25 * WIDTH
    labels = np.arange(count) % 4
    values, errors, without = [], [], []
    for _ in range(SETS):
        solution = solve(rows := draw_gaussian(rng, count) + labels[:, None])
        influence = solution.influence(rows)
        values.append(solution.value)
        errors.append(influence_stderr(within_classes(influence, labels), count))
        without.append(influence_stderr(influence, count))
    assert 0.78 < np.mean(errors) / np.std(values) < 1.22  # as above
    assert np.mean(without) > 1.3 * np.mean(errors)


@pytest.mark.parametrize("correlation", [0, 0.95])
def test_two_standard_errors_cover_a_paired_difference(correlation):
    rng = np.random.default_rng(6)
    count, found = 10 * WIDTH, []
    for _ in range(SETS):
        noise, fresh = rng.normal(size=(2, count, WIDTH))
        other = correlation * noise + np.sqrt(1 - correlation**2) * fresh
        a, b = noise * SCALES, other * SCALES * 1.05
        found.append(difference_of(a, b))
    truth = np.mean([each.value for each in found])
    covered = np.mean([abs(each.value - truth) <= 2 * each.stderr for each in found])
    assert 0.9 < covered < 0.995  # 95 %, and 150 sets count it to 1.8 %


def difference_of(a, b):
    (value_a, *of_a), (value_b, *of_b) = (
        (s.value, s.influence(rows), s.curvature(rows))
        for s, rows in ((solve(a), a), (solve(b), b))
    )
    return paired_difference(
        value_a, of_a[0], value_b, of_b[0], len(a), curvature_a=of_a[1], curvature_b=of_b[1]
    )


def test_pairs_are_compared_more_sharply_than_strangers():
    rng = np.random.default_rng(7)
    noise, other = draw_gaussian(rng, 600), draw_gaussian(rng, 600)
    paired = difference_of(noise, noise + 0.05)
    assert paired.stderr < 0.5 * difference_of(noise, other + 0.05).stderr
    assert paired.value > 0
    assert paired.conclusive


def test_images_that_have_nothing_in_common_pair_to_what_variances_add_up_to():
    rng = np.random.default_rng(8)
    a, b = draw_gaussian(rng, 600), draw_gaussian(rng, 600)
    (value_a, error_a, _), (value_b, error_b, _) = score(a), score(b)
    added, paired = unpaired_difference(value_a, error_a, value_b, error_b), difference_of(a, b)
    assert paired.value == added.value
    assert paired.stderr == pytest.approx(added.stderr, rel=0.12)  # 600 images know it to 4 %


def test_variances_of_unrelated_sets_add_up():
    assert unpaired_difference(1.0, 0.3, 3.0, 0.4) == Difference(2.0, 0.5)


def test_a_gap_within_two_standard_errors_is_inconclusive():
    assert not Difference(0.19, 0.1).conclusive
    assert Difference(-0.21, 0.1).conclusive


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(3), "2 kept images or more in one class .* found 3 in 3"),
        (np.arange(2), "labels: expected 3 of them, found 2"),
    ],
)
def test_what_tells_no_spread_within_classes_is_refused(labels, message):
    with pytest.raises(InputError, match=message):
        within_classes(np.ones(3), labels)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_give_no_error_bar(count):
    with pytest.raises(InputError, match=f"2 kept images or more to tell an error, found {count}"):
        influence_stderr(np.ones(count), 10)


def test_a_difference_of_labelled_sets_leaves_the_classes_out():
    rng = np.random.default_rng(6)
    labels, noise = np.arange(300) % 3, rng.normal(size=(2, 300))
    # One set is off by class, which its fixed numbers of each class never show.
    a, b = (within_classes(x, labels) for x in (noise[0], noise[1] + 10 * labels))
    plain = within_classes(noise[1] - noise[0], labels)
    found = paired_difference(1.0, a, 2.0, b, 300)
    assert found.stderr == pytest.approx(influence_stderr(plain, 300), rel=1e-12)


def test_pairs_of_other_images_are_refused():
    with pytest.raises(InputError, match="expected images of the same indices, found 3 and 4"):
        paired_difference(1.0, np.ones(3), 2.0, np.ones(4), 10)
