"""A mean and a covariance are checked once, in float64, and named where they are wrong."""

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.stats.gaussian import ASYMMETRY_BOUND, check_gaussian

MEAN, COV = np.array([1.0, 2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])


def test_what_is_right_comes_back_in_float64():
    mean, cov = check_gaussian([1, 2], COV.astype(np.float32))
    assert mean.dtype == cov.dtype == np.float64
    np.testing.assert_array_equal(cov, COV)


def test_a_symmetric_covariance_is_not_copied():
    assert check_gaussian(MEAN, COV)[1] is COV


@pytest.mark.parametrize(("share", "is_taken"), [(0.9, True), (1.1, False)])
def test_asymmetry_is_evened_out_up_to_the_bound(share, is_taken):
    skew = share * ASYMMETRY_BOUND * COV.max()
    skewed = COV + [[0, skew], [0, 0]]  # noqa: RUF005, an array and not a list
    if is_taken:
        cov = check_gaussian(MEAN, skewed)[1]
        assert cov[0, 1] == cov[1, 0] == pytest.approx(0.5 + skew / 2)
    else:
        with pytest.raises(InputError, match="cov: expected a symmetric matrix"):
            check_gaussian(MEAN, skewed)


def test_both_are_named_where_neither_is_finite():
    with pytest.raises(InputError, match=r"m: .* 1 of 2 .*; c: .* 4 of 4"):
        check_gaussian([np.nan, 0], COV * np.inf, mean_name="m", cov_name="c")


@pytest.mark.parametrize(
    ("mean", "cov", "message"),
    [
        ([], np.zeros((0, 0)), "mean: .* d >= 1"),
        (MEAN, COV[:1], r"cov: expected shape \(2, 2\), .* found \(1, 2\)"),
        (["a", "b"], COV, "mean: expected real numbers, found dtype <U1"),
        (MEAN, COV.astype(bool), "cov: expected real numbers, found dtype bool"),
    ],
)
def test_other_things_are_refused_by_name(mean, cov, message):
    with pytest.raises(InputError, match=message):
        check_gaussian(mean, cov)
