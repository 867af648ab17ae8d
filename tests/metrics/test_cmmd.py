import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.cmmd import cmmd
from tests.metrics.features import make_small_features

REFERENCE, GENERATED = (x.astype(np.float64) for x in make_small_features()[:2])
# Float64 rounding of kernel values of 1 in the oracle, times 1,000; jaxfid leaves the 1 out.
ROUNDING = {"abs": 1e-11}
# Float32 products of unit vectors, 1e-7, over 200, times 1,000; averaged over 90 times 90 pairs and more.
FLOAT32_ROUNDING = {"abs": 1e-7}


def plain_cmmd(x, y):
    """Returns the definition as a double sum over pairs, one at a time."""

    def mean_kernel(a, b):
        return math.fsum(
            math.exp(-np.sum(np.square(p - q)) / (2 * 10**2)) for p in a for q in b
        ) / (len(a) * len(b))

    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    return 1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))


def test_agrees_with_a_plain_double_sum():
    x, y = REFERENCE[:40], GENERATED[:30]
    assert cmmd(x, y).value == pytest.approx(plain_cmmd(x, y), **ROUNDING)


def test_is_zero_for_equal_sets_in_any_order():
    assert cmmd(REFERENCE, REFERENCE[::-1]).value == pytest.approx(0, **ROUNDING)


def test_is_symmetric_and_positive():
    value = cmmd(REFERENCE, GENERATED).value
    assert cmmd(GENERATED, REFERENCE).value == pytest.approx(value, **ROUNDING)
    assert value > 0.01


def test_is_biased_so_that_copies_of_a_set_change_nothing():
    value = cmmd(REFERENCE, GENERATED).value
    twice = cmmd(np.tile(REFERENCE, (2, 1)), GENERATED).value
    assert twice == pytest.approx(value, **ROUNDING)


def test_lengths_and_rotations_change_nothing():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    lengths = rng.uniform(0.01, 100, size=(len(REFERENCE), 1))
    moved = cmmd((REFERENCE * lengths) @ rotation, GENERATED @ rotation)
    assert moved.value == pytest.approx(cmmd(REFERENCE, GENERATED).value, **ROUNDING)


def test_block_size_changes_nothing():
    whole, cut = cmmd(REFERENCE, GENERATED), cmmd(REFERENCE, GENERATED, block_size=7)
    assert cut.value == pytest.approx(whole.value, **ROUNDING)
    assert cut.stderr == pytest.approx(whole.stderr, rel=1e-10)


def test_float32_features_lose_next_to_nothing():
    narrow = (REFERENCE.astype(np.float32), GENERATED.astype(np.float32))
    exact = cmmd(*(x.astype(np.float64) for x in narrow))
    assert cmmd(*narrow).value == pytest.approx(exact.value, **FLOAT32_ROUNDING)
    assert cmmd(*map(jnp.asarray, narrow)) == cmmd(*narrow)


def test_a_row_of_zeros_is_a_point_at_the_origin():
    with_zero = np.concatenate([GENERATED[:10], np.zeros((1, 24))])
    assert np.isfinite(cmmd(REFERENCE, with_zero).value)


def test_standard_error_is_the_jackknife():
    x, y = REFERENCE[:13], GENERATED[:11]
    left_out = np.array([plain_cmmd(x, np.delete(y, i, axis=0)) for i in range(11)])
    variance = 10 / 11 * np.sum((left_out - left_out.mean()) ** 2)
    # The oracle's rounding, 1e-12 of its own values, beside differences of 1e-2.
    assert cmmd(x, y).stderr == pytest.approx(np.sqrt(variance), rel=1e-8)


def test_standard_error_is_the_spread_over_independent_samples():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(100, 6)) + 1
    found = [cmmd(reference, rng.normal(size=(80, 6)) + 1.4) for _ in range(200)]
    spread = np.std([x.value for x in found], ddof=1)
    # 200 samples give the spread to 5 %; the rest is the jackknife's own bias, up to 12 %.
    assert np.mean([x.stderr for x in found]) == pytest.approx(spread, rel=0.17)


def test_refuses_features():
    with pytest.raises(InputError, match="generated_features: expected at least 2 images, found 1"):
        cmmd(REFERENCE, GENERATED[:1])
    with pytest.raises(InputError, match="expected features of one width"):
        cmmd(REFERENCE, GENERATED[:, :3])
