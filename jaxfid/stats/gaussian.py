"""What a mean and a covariance must be before anything is computed from them or written down."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from jaxfid.errors import InputError

ASYMMETRY_BOUND = 1e-4
"""Largest `|cov - cov.T|` taken for rounding, as a share of the largest `|cov|`.

Tools that sum in float32 leave about `sqrt(50_000) * 2**-24 = 1e-5` of the second moments, which
are a few times the variances. A matrix that is no covariance is off by order one.
"""


def check_gaussian(
    mean: ArrayLike, cov: ArrayLike, *, mean_name: str = "mean", cov_name: str = "cov"
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Returns mean and covariance in float64, the covariance exactly symmetric.

    Eigenvalues are not looked at: that is as dear as the distance, which does it on the way.

    Args:
      mean: Shape `(d,)`, `d` at least 1.
      cov: Shape `(d, d)`, symmetric to `ASYMMETRY_BOUND`.
      mean_name: What messages call the mean.
      cov_name: What messages call the covariance.

    Raises:
      InputError: Not real numbers, wrong or unequal shapes, non-finite, not symmetric.
    """
    mean, cov = as_real(mean, mean_name), as_real(cov, cov_name)
    problems = _find_shape_problems(mean, cov, mean_name, cov_name)
    problems = problems or _find_value_problems(mean, cov, mean_name, cov_name)
    if problems:
        raise InputError("; ".join(problems))
    return mean, cov if np.array_equal(cov, cov.T) else (cov + cov.T) / 2


def as_real(array: ArrayLike, name: str) -> Float[np.ndarray, "..."]:
    """Returns the array in float64.

    Raises:
      InputError: It does not hold real numbers.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: expected real numbers, found dtype {array.dtype}")
    return array.astype(np.float64, copy=False)


def _find_shape_problems(
    mean: np.ndarray, cov: np.ndarray, mean_name: str, cov_name: str
) -> list[str]:
    if mean.ndim != 1 or mean.size == 0:
        return [f"{mean_name}: expected shape (d,) with d >= 1, found {mean.shape}"]
    if cov.shape != (mean.size, mean.size):
        expected = f"({mean.size}, {mean.size}), as {mean_name} has {mean.size} values"
        return [f"{cov_name}: expected shape {expected}, found {cov.shape}"]
    return []


def _find_value_problems(
    mean: np.ndarray, cov: np.ndarray, mean_name: str, cov_name: str
) -> list[str]:
    problems = [
        f"{name}: expected finite numbers, found {bad} of {array.size} that are NaN or infinite"
        for name, array in ((mean_name, mean), (cov_name, cov))
        if (bad := array.size - np.count_nonzero(np.isfinite(array)))
    ]
    if problems or np.array_equal(cov, cov.T):
        return problems
    found, largest = np.abs(cov - cov.T).max(), np.abs(cov).max()
    if found > ASYMMETRY_BOUND * largest:
        problems.append(
            f"{cov_name}: expected a symmetric matrix, found entries that differ by {found:.3g} "
            f"from their mirror image where the largest is {largest:.3g}"
        )
    return problems
