import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.mind import make_directions, mind
from tests.metrics.features import make_small_features

REFERENCE, GENERATED = (x.astype(np.float64) for x in make_small_features()[:2])
DIRECTIONS = make_directions(7, 24, seed=3)
ROUNDING = {"rel": 1e-11}  # the same float64 sums in another order, of differences of like numbers


def plain_mind(x, y, directions):
    """Returns the formula for sets of one size, direction by direction."""
    squares = [np.mean((np.sort(x @ u) - np.sort(y @ u)) ** 2) for u in directions]
    return 3 * x.shape[1] * np.mean(squares)


def test_agrees_with_the_formula_for_given_directions():
    found = mind(REFERENCE[:90], GENERATED, directions=DIRECTIONS)
    assert found.value == pytest.approx(
        plain_mind(REFERENCE[:90], GENERATED, DIRECTIONS), **ROUNDING
    )
    assert (found.num_images, found.num_directions, found.seed) == (90, 7, None)


def test_the_larger_set_is_cut_to_rows_evenly_spaced_over_it():
    cut = REFERENCE[np.arange(90) * 120 // 90]
    found = mind(REFERENCE, GENERATED, directions=DIRECTIONS)
    assert found.value == pytest.approx(plain_mind(cut, GENERATED, DIRECTIONS), **ROUNDING)
    assert found.num_images == 90
    turned = mind(GENERATED, REFERENCE, directions=DIRECTIONS)
    assert turned.value == pytest.approx(plain_mind(GENERATED, cut, DIRECTIONS), **ROUNDING)


def test_seed_and_number_of_directions_act():
    few = mind(REFERENCE, GENERATED, num_directions=65, seed=4)
    expected = plain_mind(
        REFERENCE[np.arange(90) * 4 // 3], GENERATED, make_directions(65, 24, seed=4)
    )
    assert few.value == pytest.approx(expected, **ROUNDING)
    assert (few.num_directions, few.seed) == (65, 4)
    assert mind(REFERENCE, GENERATED, num_directions=65).value != few.value
    assert mind(REFERENCE, GENERATED, num_directions=65, seed=4) == few


def test_a_thousand_directions_by_default():
    assert mind(REFERENCE[:4], GENERATED[:4]).num_directions == 1000


def test_directions_are_units_and_the_first_ones_do_not_depend_on_their_number():
    many = make_directions(20, 24, seed=1)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(make_directions(5, 24, seed=1), many[:5])


def test_is_zero_for_equal_sets_in_any_order():
    assert mind(REFERENCE, REFERENCE[::-1]).value == pytest.approx(0, abs=1e-25)


def test_a_shift_costs_three_times_its_squared_length():
    # Along a random unit direction a shift has the mean square |v|^2 / d.
    shift = np.linspace(-1, 1, 24)
    found = mind(REFERENCE, REFERENCE + shift)
    assert found.value == pytest.approx(3 * shift @ shift, rel=0.1)  # 1,000 directions: 5 % or so
    assert abs(found.value - 3 * shift @ shift) < 4 * found.stderr_directions


def test_rotations_shifts_and_order_change_nothing():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    moved = [(rng.permutation(x) - 7) @ rotation for x in (REFERENCE[:90], GENERATED)]
    found = mind(*moved, directions=DIRECTIONS @ rotation)
    expected = mind(REFERENCE[:90], GENERATED, directions=DIRECTIONS)
    assert (found.value, found.stderr) == pytest.approx(
        (expected.value, expected.stderr), **ROUNDING
    )


def test_scales_with_the_square_and_is_symmetric():
    found = mind(REFERENCE[:90], GENERATED, directions=DIRECTIONS)
    scaled = mind(3 * REFERENCE[:90], 3 * GENERATED, directions=DIRECTIONS)
    assert scaled.value == pytest.approx(9 * found.value, **ROUNDING)
    turned = mind(GENERATED, REFERENCE[:90], directions=DIRECTIONS)
    assert turned.value == pytest.approx(found.value, **ROUNDING)


def test_digits_of_features_far_from_the_origin_are_kept():
    far = mind(REFERENCE + 2.0**20, GENERATED + 2.0**20, directions=DIRECTIONS)
    near = mind(REFERENCE, GENERATED, directions=DIRECTIONS)
    # The shift itself rounds features to 1e-10.
    assert far.value == pytest.approx(near.value, rel=1e-8)


def test_block_size_and_device_arrays_change_nothing():
    whole = mind(REFERENCE, GENERATED, directions=DIRECTIONS)
    cut = mind(REFERENCE, GENERATED, directions=DIRECTIONS, block_size=7)
    assert (cut.value, cut.stderr) == pytest.approx((whole.value, whole.stderr), **ROUNDING)
    narrow = [x.astype(np.float32) for x in (REFERENCE, GENERATED)]
    on_device = mind(*map(jnp.asarray, narrow), directions=DIRECTIONS)
    assert on_device == mind(*narrow, directions=DIRECTIONS)


def test_standard_error_is_the_spread_over_independent_samples():
    rng = np.random.default_rng(0)
    reference, directions = rng.normal(size=(200, 6)), make_directions(20, 6)
    samples = (0.9 * rng.normal(size=(200, 6)) + 0.3 for _ in range(200))
    found = [mind(reference, sample, directions=directions) for sample in samples]
    spread = np.std([x.value for x in found], ddof=1)
    # 200 samples give the spread to 5 %; the rest is what is not linear.
    assert np.mean([x.stderr for x in found]) == pytest.approx(spread, rel=0.17)


def test_error_of_the_directions_is_the_spread_over_seeds():
    found = [mind(REFERENCE, GENERATED, num_directions=64, seed=s) for s in range(60)]
    spread = np.std([x.value for x in found], ddof=1)
    # 60 seeds give the spread to 9 %.
    assert np.mean([x.stderr_directions for x in found]) == pytest.approx(spread, rel=0.27)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_directions": 0}, "num_directions: expected 1 or more, found 0"),
        ({"directions": np.ones((3, 5))}, r"directions: expected shape \(directions, 24\)"),
        ({"directions": np.ones(24)}, r"directions: expected shape .* found \(24,\)"),
        (
            {"directions": np.eye(24) * 2},
            "directions: expected vectors of length 1, found 2.0 in row 0",
        ),
        ({"directions": np.full((1, 24), np.nan)}, "directions: expected vectors of length 1"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(InputError, match=message):
        mind(REFERENCE, GENERATED, **options)


def test_refuses_features():
    with pytest.raises(InputError, match="generated_features: expected at least 2 images, found 1"):
        mind(REFERENCE, GENERATED[:1])
