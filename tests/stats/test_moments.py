"""Laws of the sums: any partition adds up to the whole, in float64 wherever they are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.stats.moments import Moments, moments_of, zero_moments

WIDTH = 5


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, WIDTH)) + 3).astype(np.float32)


def host_moments(rows: np.ndarray) -> Moments:
    return moments_of(rows, np.ones(len(rows), bool))


def device_moments(rows: np.ndarray) -> Moments:
    with jax.enable_x64(True):
        return jax.jit(moments_of)(jnp.asarray(rows), jnp.ones(len(rows), bool))


def test_mean_and_cov_are_those_of_the_rows():
    rows = rows_of(40)
    for moments in (host_moments(rows), device_moments(rows)):
        # float64 sums of 40 numbers near 3
        np.testing.assert_allclose(moments.mean(), rows.mean(0, dtype=np.float64), rtol=1e-14)
        np.testing.assert_allclose(moments.cov(), np.cov(rows.T.astype(np.float64)), rtol=1e-11)
        np.testing.assert_allclose(moments.cov(ddof=0) * 40, moments.cov() * 39, rtol=1e-13)


@pytest.mark.parametrize("make_a", [host_moments, device_moments])
@pytest.mark.parametrize("make_b", [host_moments, device_moments])
def test_parts_add_up_in_float64_wherever_they_are(make_a, make_b):
    rows = rows_of(30)
    whole = host_moments(rows)
    parts = make_a(rows[:11]), make_b(rows[11:])
    added = parts[0] + parts[1]
    for sums in (added, added - parts[1] + make_b(rows[11:]), zero_moments(WIDTH) + added):
        assert {leaf.dtype for leaf in jax.tree.leaves(sums)} == {np.dtype(np.float64)}
        for a, b in zip(jax.tree.leaves(sums), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)  # order of float64 additions


def test_leading_axes_add_up_in_float64():
    rows = rows_of(24)
    with jax.enable_x64(True):
        parts = jax.jit(lambda r: moments_of(r.reshape(4, 6, WIDTH), jnp.ones((4, 6), bool)))(rows)
    whole = parts.total_over(0)
    assert whole.outer.dtype == np.float64
    np.testing.assert_allclose(whole.outer, host_moments(rows).outer, rtol=1e-14)
    np.testing.assert_allclose(parts.outer[1], host_moments(rows[6:12]).outer, rtol=1e-14)


def test_masked_rows_count_for_nothing_whatever_they_hold():
    rows = rows_of(6)
    rows[4:] = np.nan
    mask = np.array([True, True, False, True, False, False])
    expected = host_moments(rows[[0, 1, 3]])
    for array in (rows, jnp.asarray(rows)):
        with jax.enable_x64(True):
            moments = moments_of(array, mask)
        np.testing.assert_allclose(moments.outer, expected.outer, rtol=1e-14)
        assert moments.count == 3


def test_too_few_rows_are_refused():
    with pytest.raises(InputError, match="a mean needs at least 1 images, found 0"):
        zero_moments(WIDTH).mean()
    with pytest.raises(InputError, match=r"a covariance with ddof=1 needs at least 2 .* found 1"):
        host_moments(rows_of(1)).cov()
