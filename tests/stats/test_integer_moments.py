"""Laws of the sums in whole numbers: exact, so equal to the bit in any order; refused beyond their bounds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfid
from jaxfid.errors import InputError
from jaxfid.stats.integer_moments import (
    LARGEST_MAGNITUDE,
    MAX_ROWS,
    IntegerMoments,
    integer_moments_of,
    zero_integer_moments,
)
from jaxfid.stats.moments import moments_of

STEP = 2.0**-25
sums_of = jax.jit(integer_moments_of)


def rows_of(count: int, width: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, width)) * 10.0 ** rng.uniform(-8, 1, (count, width))
    rows[0] = np.resize([LARGEST_MAGNITUDE, -LARGEST_MAGNITUDE, 0, STEP, -STEP], width)
    return rows.clip(-LARGEST_MAGNITUDE, LARGEST_MAGNITUDE).astype(np.float32)


def all_of(rows: np.ndarray) -> IntegerMoments:
    return jax.device_get(sums_of(rows, np.ones(len(rows), bool)))


def whole(parts: np.ndarray, axis: int) -> np.ndarray:
    """The sums as Python's integers."""
    moved = np.moveaxis(np.asarray(parts), axis, 0).astype(object)
    return sum(part << (24 * k) for k, part in enumerate(moved))


def assert_equal(found: IntegerMoments, expected: IntegerMoments) -> None:
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), jax.device_get(expected))


def test_they_are_the_sums_of_the_rounded_rows_to_the_bit():
    rows = rows_of(41)
    steps = np.round(rows.astype(np.float64) / STEP).astype(np.int64).astype(object)
    found = all_of(rows)
    assert (whole(found.total, -2) == steps.sum(0)).all()
    assert (whole(found.outer, -3) == steps.T @ steps).all()
    moments = found.to_moments()
    # float64 of a whole number: a rounding of each of the parts
    expected = (steps.T @ steps).astype(np.float64) * STEP**2
    np.testing.assert_allclose(moments.outer, expected, rtol=1e-15)
    np.testing.assert_allclose(moments.total, steps.sum(0).astype(np.float64) * STEP, rtol=1e-15)
    assert moments.count == 41


def test_the_largest_numbers_fill_no_sum():
    rows = np.full((MAX_ROWS, 2), [LARGEST_MAGNITUDE, -LARGEST_MAGNITUDE], np.float32)
    once = all_of(rows)
    steps = int(LARGEST_MAGNITUDE / STEP)
    assert (
        whole(once.outer, -3).tolist()
        == (MAX_ROWS * steps**2 * np.array([[1, -1], [-1, 1]], object)).tolist()
    )
    many = once
    for _ in range(10):  # 2^24 rows
        many = many + many
    assert (whole(many.outer, -3) == 2**10 * whole(once.outer, -3)).all()
    assert (whole(many.total, -2) == 2**10 * whole(once.total, -2)).all()


def test_no_order_and_no_partition_changes_a_bit():
    rows = rows_of(60)
    expected = all_of(rows)
    assert_equal(all_of(rows[::-1]), expected)
    shuffled = np.random.default_rng(1).permutation(rows)
    parts = [all_of(part) for part in np.split(shuffled, [20, 40])]
    zeros = zero_integer_moments(5)
    assert_equal(zeros + parts[0] + (parts[1] + parts[2]), expected)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    assert_equal(stacked.total_over(0), expected)
    assert_equal(jax.jit(IntegerMoments.total_over)(stacked), expected)


def test_leading_axes_are_devices():
    rows = rows_of(60)
    mask = np.ones((3, 20), bool)
    assert_equal(sums_of(rows.reshape(3, 20, 5), mask).total_over(0), all_of(rows))


def test_processes_add_up():
    parts = [all_of(part) for part in np.split(rows_of(60), 3)]

    def add_up(tree):  # as a group of three processes does, in float64
        return {
            name: sum(np.asarray(vars(part)[name], np.float64) for part in parts) for name in tree
        }

    assert_equal(parts[0].total_over_processes(add_up), all_of(rows_of(60)))


def test_many_devices_add_up():
    one = all_of(rows_of(20))
    stacked = jax.tree.map(lambda leaf: np.stack([leaf] * 300), one)  # more parts than 31 bits hold
    summed = jax.jit(jax.vmap(lambda sums: sums.psum("devices"), axis_name="devices"))(stacked)
    first = jax.tree.map(lambda leaf: leaf[0], summed)
    assert (whole(first.outer, -3) == 300 * whole(one.outer, -3)).all()
    assert (whole(first.total, -2) == 300 * whole(one.total, -2)).all()
    assert first.count == 300 * 20


def test_padding_counts_for_nothing():
    rows = rows_of(9)
    mask = np.arange(9) < 6
    padded = np.where(mask[:, None], rows, np.nan)
    assert_equal(sums_of(padded, mask), all_of(rows[:6]))


def test_no_float64_is_asked_for():
    with jax.enable_x64(True):
        text = sums_of.lower(jnp.zeros((8, 5), jnp.float32), np.ones(8, bool)).as_text()
    assert "i8" in text
    assert "f64" not in text


@pytest.mark.parametrize("value", [64, -1e9, np.inf, np.nan])
def test_features_beyond_the_bounds_are_refused(value):
    rows = rows_of(9)
    rows[3, 2] = value
    with pytest.raises(InputError, match="magnitudes up to 63, found 1 values"):
        (all_of(rows) + all_of(rows_of(9))).to_moments()


def test_too_many_rows_at_once_are_refused():
    with pytest.raises(InputError, match="16384 rows at a time, found 16385"):
        integer_moments_of(np.zeros((MAX_ROWS + 1, 1), np.float32), np.ones(MAX_ROWS + 1, bool))


def test_too_many_images_are_refused():
    few = zero_integer_moments(1)
    many = dataclasses.replace(few, count=np.array(2**31 - 1, np.int32))
    one = dataclasses.replace(few, count=np.array(1, np.int32))
    with pytest.raises(InputError, match="2\\^31 - 1 images"):
        (jax.device_put(many) + jax.device_put(one)).to_moments()


def test_the_distance_of_fewer_images_than_features_is_kept():
    # Rectified, of few directions and noise, as the features of a network are.
    def draw(seed, shift):
        rng = np.random.default_rng(seed)
        directions = np.random.default_rng(7).standard_normal((64, 512))
        rows = 0.06 * rng.standard_normal((300, 64)) @ directions
        return np.maximum(rows + 0.2 * rng.standard_normal((300, 512)) + 0.3 + shift, 0).astype(
            np.float32
        )

    def fid(sums):
        a, b = (sums(draw(seed, 0.05 * seed)) for seed in (0, 1))
        return jaxfid.frechet_distance(a.mean(), a.cov(), b.mean(), b.cov())

    expected = fid(lambda rows: moments_of(rows, np.ones(len(rows), bool)))
    assert fid(lambda rows: all_of(rows).to_moments()) == pytest.approx(expected, rel=3e-10)
