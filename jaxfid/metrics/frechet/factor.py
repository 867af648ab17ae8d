"""Factors of covariances, from moments or features: `factor @ factor.T` is the covariance.

A factor has as many columns as the covariance has rank. Columns beyond the rank would be zeros but for
rounding, and the solve would take the square root of that rounding.
"""

import dataclasses
import functools

import jax
import numpy as np
from jax import lax
from jaxtyping import Float, Float64
from scipy.linalg import get_lapack_funcs

from jaxfid.errors import InputError, JaxfidError
from jaxfid.metrics.frechet.cpu_solver import run_on_cpu

NEGATIVE_BOUND = 1e-6
"""Negative eigenvalues may sum to this share of the trace and are then clipped; more is refused.

A covariance of deficient rank that was stored in float32 reaches 1e-7. Clipping moves the distance by
at most the sum of what is clipped.
"""

_ROWS_AT_ONCE = 8192
_EPS = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianFactor:
    """A Gaussian whose covariance has been factored.

    Attributes:
      mean: Its mean.
      factor: `factor @ factor.T` is its covariance; `r` is the rank, and 1 where the rank is 0.
    """

    mean: Float64[np.ndarray, " d"]
    factor: Float64[np.ndarray, "d r"]

    @functools.cached_property
    def trace(self) -> float:
        """The trace of its covariance."""
        return float(np.linalg.norm(self.factor) ** 2)


(_pivoted_cholesky,) = get_lapack_funcs(("pstrf",), dtype=np.float64)
_jit_eigh = jax.jit(lambda cov: lax.linalg.eigh(cov, symmetrize_input=False))


def factor_covariance(
    mean: Float64[np.ndarray, " d"], cov: Float64[np.ndarray, "d d"], name: str
) -> GaussianFactor:
    """Returns the Gaussian with the pivoted Cholesky factor of its covariance.

    Pivoting finds the rank and stops there, so that the cost is `d r^2`. It is small beside the solve.

    Args:
      mean: The mean.
      cov: The covariance, exactly symmetric.
      name: What messages call the covariance.

    Raises:
      InputError: Eigenvalues are more negative than `NEGATIVE_BOUND` allows.
    """
    rounding = len(cov) * _EPS * np.diagonal(cov).max(initial=0)
    lower, order, rank, _ = _pivoted_cholesky(cov, lower=1, tol=rounding)
    # LAPACK leaves in the later columns what it has not eliminated. One column of zeros stands for
    # rank 0, because LAPACK's decompositions take no empty matrix.
    lower[:, rank:] = 0
    # Rows are put back in their order as columns of the transpose, which is five times as fast.
    factor = np.tril(lower)[:, : max(rank, 1)].T.take(np.argsort(order), axis=1).T
    # If more than rounding is left, the matrix has negative eigenvalues, be it that it was stored in
    # float32 or that it is no covariance. The eigenvalues tell which.
    if rank < len(cov) and np.abs(cov - factor @ factor.T).max() > 2 * rounding:
        factor = _factor_by_eigenvectors(cov, name)
    return GaussianFactor(mean, factor)


def factor_features(features: Float[np.ndarray, "n d"], name: str) -> GaussianFactor:
    """Returns the Gaussian fitted to features, its covariance with ddof 1.

    At most `d` vectors are their own factor once they are centred, which is cheaper than a covariance
    and loses no digits to one.

    Args:
      features: At least 2 vectors, finite. They are taken to float64 in blocks.
      name: What messages call the features.
    """
    count, width = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    if count <= width:
        return GaussianFactor(mean, _factor_by_vectors(features - mean))
    cov = np.zeros((width, width))
    for start in range(0, count, _ROWS_AT_ONCE):
        centred = features[start : start + _ROWS_AT_ONCE] - mean
        cov += centred.T @ centred
    return factor_covariance(mean, cov / (count - 1), name)


def _factor_by_vectors(centred: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "d m"]:
    """Returns a factor of `n - 1` columns from `n` vectors that sum to zero.

    The Householder reflection that takes the direction of ones to the first axis turns the first
    vector into zeros and leaves `n - 1` others with the same sum of outer products.
    """
    count = len(centred)
    reflected = centred[1:] - centred[0] / (np.sqrt(count) + 1)
    return reflected.T / np.sqrt(count - 1)


def _factor_by_eigenvectors(
    cov: Float64[np.ndarray, "d d"], name: str
) -> Float64[np.ndarray, "d r"]:
    vectors, values = run_on_cpu(_jit_eigh, cov)
    if not np.isfinite(values).all():
        raise JaxfidError(f"{name}: LAPACK's eigenvalues did not converge")
    negative = -values[values < 0].sum()
    if negative > NEGATIVE_BOUND * np.trace(cov):
        raise InputError(
            f"{name}: expected a covariance, which has no negative eigenvalues, found "
            f"{values[0]:.3g} where the largest is {values[-1]:.3g}; rounding does not explain it, "
            "so compute the covariance again, in float64"
        )
    # Eigenvalues below this are rounding, and their roots would be 1e-8 of the largest root.
    rank = np.count_nonzero(values > values[-1] * len(cov) * _EPS)
    kept = slice(len(cov) - max(rank, 1), None)
    return vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0))


def check_same_width(**means: Float64[np.ndarray, " _"]) -> None:
    """Checks that two means, under the names that the caller knows them by, are of one width.

    Raises:
      InputError: They are not.
    """
    widths = [len(mean) for mean in means.values()]
    if len(set(widths)) > 1:
        raise InputError(
            f"{', '.join(means)}: expected the same number of dimensions, "
            f"found {' and '.join(map(str, widths))}"
        )
