"""Checks of a mean and a covariance, before anything is computed from them or written to a file."""

import itertools

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from jaxfid.errors import InputError

ASYMMETRY_BOUND = 1e-4
"""Largest `|cov - cov.T|` taken for rounding, as a share of the largest `|cov|`.

Tools that sum in float32 leave about `sqrt(50_000) * 2**-24 = 1e-5` of the second moments, which
are a few times the variances. A matrix that is not a covariance is off by order one.
"""

_TILE = 64


def check_gaussian(
    mean: ArrayLike, cov: ArrayLike, *, mean_name: str = "mean", cov_name: str = "cov"
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Returns mean and covariance in float64, the covariance exactly symmetric.

    Eigenvalues are not checked here. That costs as much as the distance, which checks them itself.

    Args:
      mean: Shape `(d,)`, `d` at least 1.
      cov: Shape `(d, d)`, symmetric to `ASYMMETRY_BOUND`.
      mean_name: What messages call the mean.
      cov_name: What messages call the covariance.

    Raises:
      InputError: Not real numbers, wrong or unequal shapes, non-finite, not symmetric.
    """
    mean, cov = as_real(mean, mean_name), as_real(cov, cov_name)
    _check_shapes(mean, cov, mean_name, cov_name)
    _check_finite({mean_name: mean, cov_name: cov})
    return mean, _symmetrise(cov, cov_name)


def as_real(array: ArrayLike, name: str) -> Float[np.ndarray, "..."]:
    """Returns the array in float64.

    Raises:
      InputError: It does not hold real numbers.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: expected real numbers, found dtype {array.dtype}")
    return array.astype(np.float64, copy=False)


def _check_shapes(mean: np.ndarray, cov: np.ndarray, mean_name: str, cov_name: str) -> None:
    if mean.ndim != 1 or mean.size == 0:
        raise InputError(f"{mean_name}: expected shape (d,) with d >= 1, found {mean.shape}")
    if cov.shape != (mean.size, mean.size):
        expected = f"({mean.size}, {mean.size}), as {mean_name} has {mean.size} values"
        raise InputError(f"{cov_name}: expected shape {expected}, found {cov.shape}")


def _check_finite(arrays: dict[str, np.ndarray]) -> None:
    problems = [
        f"{name}: expected finite numbers, found {bad} of {array.size} that are NaN or infinite"
        for name, array in arrays.items()
        if (bad := array.size - np.count_nonzero(np.isfinite(array)))
    ]
    if problems:
        raise InputError("; ".join(problems))


def _symmetrise(cov: Float[np.ndarray, "d d"], name: str) -> Float[np.ndarray, "d d"]:
    if _is_symmetric(cov):
        return cov
    found, largest = np.abs(cov - cov.T).max(), np.abs(cov).max()
    if found > ASYMMETRY_BOUND * largest:
        raise InputError(
            f"{name}: expected a symmetric matrix, found entries that differ by {found:.3g} "
            f"from their mirror image where the largest is {largest:.3g}"
        )
    return (cov + cov.T) / 2


def _is_symmetric(cov: Float[np.ndarray, "d d"]) -> bool:
    # By tiles: two of them stay in the processor's cache, while the columns of a whole matrix do not.
    tiles = [slice(start, start + _TILE) for start in range(0, len(cov), _TILE)]
    pairs = itertools.combinations_with_replacement(tiles, 2)
    return all(np.array_equal(cov[a, b], cov[b, a].T) for a, b in pairs)
