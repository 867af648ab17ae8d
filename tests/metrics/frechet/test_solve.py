"""The solve's derivatives are the slopes of its value in the weights of the images, at every rank."""

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.frechet import solve
from jaxfid.metrics.frechet.distance import frechet_distance, prepare_reference
from jaxfid.metrics.frechet.solve import FrechetSolution, solve_frechet

WIDTH = 6
SIZES = [(30, 20), (4, 20), (30, 4), (4, 5), (5, 4)]
"""Images of the reference and of the generated set: both of full rank, one deficient, both."""


def make_sets(sizes):
    rng = np.random.default_rng(sum(sizes))
    scales = np.array([4, 2, 1, 1, 0.5, 0.1])
    return [
        rng.normal(size=(size, WIDTH)) * scales + shift
        for size, shift in zip(sizes, (0, 1), strict=True)
    ]


def weigh(rows, weights):
    """Mean and covariance of weighted images, with ddof 0."""
    mean = weights @ rows
    centred = rows - mean
    return mean, (centred.T * weights) @ centred


def equal(rows):
    return np.full(len(rows), 1 / len(rows))


def towards(rows, image):
    """The change of the weights that moves all of them to one image."""
    return (np.arange(len(rows)) == image) - equal(rows)


def solve_sets(reference, generated) -> FrechetSolution:
    prepared = prepare_reference(*weigh(reference, equal(reference)))
    return solve_frechet(prepared, *weigh(generated, equal(generated)))


def value_along(reference, generated, side):
    """The distance as a function of the weights of one side, by the public function of moments."""
    fixed = [weigh(rows, equal(rows)) for rows in (reference, generated)]

    def value(weights):
        moved = weigh((reference, generated)[side], weights)
        return frechet_distance(*(moved if side == 0 else fixed[0]), *(fixed[1], moved)[side])

    return value


@pytest.mark.parametrize("sizes", SIZES)
def test_value_is_the_distance(sizes):
    reference, generated = make_sets(sizes)
    expected = frechet_distance(
        *weigh(reference, equal(reference)), *weigh(generated, equal(generated))
    )
    assert solve_sets(reference, generated).value == expected


@pytest.mark.parametrize("side", [0, 1], ids=["reference", "generated"])
@pytest.mark.parametrize("sizes", SIZES)
def test_influence_is_the_slope_in_the_weight_of_an_image(sizes, side):
    sets = make_sets(sizes)
    solution, rows = solve_sets(*sets), sets[side]
    found = (solution.reference_influence, solution.influence)[side](rows)
    value, step = value_along(*sets, side), 1e-6
    for image in (0, 3):
        change = step * towards(rows, image)
        slope = (value(equal(rows) + change) - value(equal(rows) - change)) / (2 * step)
        # Products of influences are float32, and their scale is that of the largest influence.
        np.testing.assert_allclose(
            found[image] - found.mean(), slope, rtol=0, atol=3e-6 * abs(found).max()
        )


@pytest.mark.parametrize("side", [0, 1], ids=["reference", "generated"])
@pytest.mark.parametrize("sizes", SIZES)
def test_curvature_is_the_second_derivative_in_the_weights_of_two_images(sizes, side):
    sets = make_sets(sizes)
    solution, rows = solve_sets(*sets), sets[side]
    found = (solution.reference_curvature, solution.curvature)[side](rows)
    order = np.random.RandomState(0).permutation(len(rows))
    pairs = list(zip(order[: len(rows) // 2], order[len(rows) // 2 :], strict=False))
    assert len(found) == len(pairs)
    value, step = value_along(*sets, side), 1e-4
    for pair, curvature in list(zip(pairs, found, strict=True))[:2]:
        first, second = (step * towards(rows, image) for image in pair)
        corners = [
            value(equal(rows) + first + second),
            value(equal(rows) - first - second),
            -value(equal(rows) + first - second),
            -value(equal(rows) - first + second),
        ]
        # Off by the square of the step, and by 1e-14 of values near 20 over it.
        expected = sum(corners) / (4 * step**2)
        np.testing.assert_allclose(curvature, expected, rtol=0, atol=1e-4 * abs(found).max())


def test_curvature_is_of_a_bounded_number_of_pairs(monkeypatch):
    reference, generated = make_sets((30, 20))
    solution = solve_sets(reference, generated)
    assert len(solution.curvature(generated)) == 10
    monkeypatch.setattr(solve, "MAX_PAIRS", 3)
    assert len(solution.curvature(generated)) == 3
    assert len(solution.curvature(generated[:1])) == 0


def test_influence_of_some_images_is_that_among_all_of_them(monkeypatch):
    reference, generated = make_sets((30, 20))
    solution = solve_sets(reference, generated)
    whole = solution.influence(generated)
    monkeypatch.setattr(solve, "BLOCK_SIZE", 7)
    np.testing.assert_allclose(solution.influence(generated), whole, rtol=1e-5)
    np.testing.assert_allclose(solution.influence(generated[4:9]), whole[4:9], rtol=1e-5)
    assert solution.influence(generated[:0]).shape == (0,)


def test_a_mean_far_from_zero_costs_no_digits():
    reference, generated = make_sets((30, 20))
    near = solve_sets(reference, generated).influence(generated)
    far = solve_sets(reference + 1e5, generated + 1e5).influence(generated + 1e5)
    # A float32 product of the rows themselves would keep no digit of an influence.
    np.testing.assert_allclose(far, near, rtol=0, atol=1e-5 * abs(near).max())


def test_equal_sets_have_no_influence():
    _, generated = make_sets((30, 20))
    influence = solve_sets(generated, generated).influence(generated)
    # Each is a difference of squared lengths near 60, from float32 products.
    np.testing.assert_allclose(influence, 0, atol=1e-4)


def test_no_variance_on_one_side_has_influences_too():
    _, generated = make_sets((30, 20))
    solution = solve_sets(np.zeros((5, WIDTH)), generated)
    # The distance from a point is the mean squared distance of the images from it.
    lengths = np.square(generated).sum(1)
    influence = solution.influence(generated)
    np.testing.assert_allclose(influence - influence.mean(), lengths - lengths.mean(), rtol=1e-6)


@pytest.mark.parametrize("rows", [np.ones((3, WIDTH + 1)), np.ones(WIDTH)])
def test_rows_of_another_width_are_refused(rows):
    solution = solve_sets(*make_sets((30, 20)))
    for derive in (solution.influence, solution.curvature, solution.reference_influence):
        with pytest.raises(InputError, match=r"rows: expected shape \(n, 6\), found"):
            derive(rows)


def test_another_width_is_refused():
    reference = prepare_reference(np.zeros(2), np.eye(2))
    with pytest.raises(InputError, match=r"reference, mean: .* found 2 and 3"):
        solve_frechet(reference, np.zeros(3), np.eye(3))
