"""Factors of covariances, from moments or features: `factor @ factor.T` is the covariance."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
from jax import lax
from jaxtyping import Float
from scipy.linalg import lapack

from jaxfid.errors import InputError, JaxfidError
from jaxfid.metrics.frechet.cpu_solver import run_on_cpu

NEGATIVE_BOUND = 1e-6
"""Negative eigenvalues that are clipped may sum to this share of the trace; beyond it is refused.

A deficient covariance that was stored in float32 reaches 1e-7; the distance moves by at most
their sum.
"""

_ROWS_AT_ONCE = 8192
_EPS = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True)
class GaussianFactor:
    """A Gaussian, prepared: the cubic work on its covariance is done.

    Attributes:
      mean: Its mean.
      factor: `factor @ factor.T` is its covariance; `r` is `d`, its rank, or a number of vectors.
      columns: "rising" from small to large, a lower "triangle", or "vectors" in any order.
    """

    mean: Float[np.ndarray, " d"]
    factor: Float[np.ndarray, "d r"]
    columns: Literal["rising", "triangle", "vectors"]

    @functools.cached_property
    def trace(self) -> float:
        """The trace of its covariance."""
        return float(np.linalg.norm(self.factor) ** 2)


Factorise = Callable[[np.ndarray, np.ndarray, str], GaussianFactor]
"""From a mean, a covariance and what messages call it: `factor_rising` or `factor_fast`."""

_jit_eigh = jax.jit(lambda cov: lax.linalg.eigh(cov, symmetrize_input=False))


def factor_fast(
    mean: Float[np.ndarray, " d"], cov: Float[np.ndarray, "d d"], name: str
) -> GaussianFactor:
    """Returns the Gaussian with Cholesky's factor at full rank, else with a rising one.

    Raises:
      InputError: As `factor_rising`.
    """
    # The upper triangle, because SciPy takes a quarter of the time to clear what lies below it.
    upper, failed = lapack.dpotrf(cov.T)
    if not failed and np.square(np.diagonal(upper)).min() > _rounding_of(cov):
        return GaussianFactor(mean, upper.T, "triangle")
    return factor_rising(mean, cov, name)


def factor_rising(
    mean: Float[np.ndarray, " d"], cov: Float[np.ndarray, "d d"], name: str
) -> GaussianFactor:
    """Returns the Gaussian with a factor whose columns rise from small to large.

    It is Cholesky's, pivoted and turned around. It stops at the rank, so that its cost is `d r^2`, a
    small part of an eigen-decomposition where images are fewer than features; at full rank pivoting
    makes it twice as slow as without. Where it leaves more than rounding behind, the covariance is
    not one, or was stored in float32: then the eigenvectors tell.

    Args:
      mean: The mean.
      cov: The covariance, exactly symmetric.
      name: What messages call the covariance.

    Raises:
      InputError: Eigenvalues are more negative than `NEGATIVE_BOUND` allows.
    """
    rounding = _rounding_of(cov)
    lower, order, rank, _ = lapack.dpstrf(cov, lower=1, tol=rounding)
    # One column of zeros stands for rank 0, because LAPACK knows no empty matrix.
    lower[:, rank:] = 0
    falling = np.tril(lower)[:, : max(rank, 1)]
    # Along the rows of its transpose, which takes a fifth of the time.
    factor = falling.T[::-1].take(np.argsort(order), axis=1).T
    if rank < len(cov) and np.abs(cov - factor @ factor.T).max() > 2 * rounding:
        factor = _factor_by_eigenvectors(cov, name)
    return GaussianFactor(mean, factor, "rising")


def factor_features(features: Float[np.ndarray, "n d"], factorise: Factorise) -> GaussianFactor:
    """Returns the Gaussian fitted to features, with ddof 1.

    A set with no more vectors than dimensions is its own factor, once centred.
    """
    num_vectors, width = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    if num_vectors <= width:
        return GaussianFactor(mean, (features - mean).T / np.sqrt(num_vectors - 1), "vectors")
    cov = np.zeros((width, width))
    for start in range(0, num_vectors, _ROWS_AT_ONCE):
        centred = features[start : start + _ROWS_AT_ONCE] - mean
        cov += centred.T @ centred
    return factorise(mean, cov / (num_vectors - 1), "features")


def _factor_by_eigenvectors(cov: Float[np.ndarray, "d d"], name: str) -> Float[np.ndarray, "d r"]:
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
    # Below this an eigenvalue is rounding, and its root would be 1e-8 of something.
    rank = np.count_nonzero(values > values[-1] * len(cov) * _EPS)
    kept = slice(len(cov) - max(rank, 1), None)
    return vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0))


def _rounding_of(cov: Float[np.ndarray, "d d"]) -> float:
    return len(cov) * _EPS * np.diagonal(cov).max(initial=0)
