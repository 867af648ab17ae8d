"""The squared Frechet distance between Gaussians, from moments or features, in float64 on the CPU.

Everything here rests on one identity. With `C = F F^T` on both sides,
`trace(sqrt(C_a C_b))` is the sum of the singular values of `F_a^T F_b`. Any factor will do: the
pivoted Cholesky factor of a covariance, which has as many columns as its rank, or the centred
features themselves where there are fewer of them than dimensions. No square root is taken of an
eigenvalue that cancellation has spoiled, so the result is good to about 1e-15 of the traces.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jax import lax
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from jaxfid.errors import InputError, JaxfidError
from jaxfid.metrics.blocks import check_features
from jaxfid.stats.gaussian import check_gaussian

NEGATIVE_BOUND = 1e-6
"""Negative eigenvalues that are clipped may sum to this share of the trace; beyond it is refused.

A deficient covariance that was stored in float32 reaches 1e-7; the distance moves by at most
their sum.
"""

_ROWS_AT_ONCE = 8192
_EPS = float(np.finfo(np.float64).eps)
_SPOILED = 1e-10
"""An eigenvalue below this share of the largest is good to less than six digits."""


@dataclasses.dataclass(frozen=True)
class GaussianFactor:
    """A Gaussian, prepared: the cubic work on its covariance is done.

    Attributes:
      mean: Its mean.
      factor: `factor @ factor.T` is its covariance; `r` is `d`, its rank, or a number of vectors.
    """

    mean: Float[np.ndarray, " d"]
    factor: Float[np.ndarray, "d r"]


def frechet_distance(
    mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike
) -> float:
    """Returns the squared Frechet distance between two Gaussians.

    `|mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 sqrt(cov_a cov_b))`, symmetric in the two sides.
    It is a FID only when the moments are of Inception features under one named protocol.

    Args:
      mean_a: Mean of shape `(d,)`.
      cov_a: Covariance of shape `(d, d)`, of any rank.
      mean_b: The other mean.
      cov_b: The other covariance.

    Raises:
      InputError: Wrong or unequal shapes, not finite, not symmetric, or eigenvalues more negative
        than `NEGATIVE_BOUND` allows. The message names the argument.

    Source: Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982.
    """
    mean_a, cov_a = check_gaussian(mean_a, cov_a, mean_name="mean_a", cov_name="cov_a")
    mean_b, cov_b = check_gaussian(mean_b, cov_b, mean_name="mean_b", cov_name="cov_b")
    _check_same_width("mean_a", mean_a, "mean_b", mean_b)
    reference = GaussianFactor(mean_a, _factor_cov(cov_a, "cov_a"))
    return _compute_distance(reference, GaussianFactor(mean_b, _factor_cov(cov_b, "cov_b")))


def frechet_distance_from_features(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Returns the squared Frechet distance between the Gaussians fitted to two sets of features.

    Covariances have ddof 1. A set with no more vectors than dimensions is its own factor, which
    gives the same value as its covariance would and is cheaper by far.

    Args:
      features_a: Shape `(n, d)`, at least 2 vectors. Rows are taken up to float64 in blocks.
      features_b: The same for the other set; `n` may differ, `d` may not.

    Raises:
      InputError: Wrong or unequal shapes, fewer than 2 vectors, not finite.
    """
    features_a, features_b = np.asarray(features_a), np.asarray(features_b)
    check_features(2, features_a=features_a, features_b=features_b)
    return _compute_distance(_factor_features(features_a), _factor_features(features_b))


def prepare_reference(mean: ArrayLike, cov: ArrayLike) -> GaussianFactor:
    """Returns the reference with its covariance factored, to be scored against many times.

    Raises:
      InputError: As `frechet_distance`.
    """
    mean, cov = check_gaussian(mean, cov)
    return GaussianFactor(mean, _factor_cov(cov, "cov"))


def frechet_distance_to(reference: GaussianFactor, mean: ArrayLike, cov: ArrayLike) -> float:
    """Returns what `frechet_distance` does, without factoring the reference again.

    Raises:
      InputError: As `frechet_distance`.
    """
    mean, cov = check_gaussian(mean, cov)
    _check_same_width("reference", reference.mean, "mean", mean)
    return _compute_distance(reference, GaussianFactor(mean, _factor_cov(cov, "cov")))


_jit_eigh = jax.jit(lambda cov: lax.linalg.eigh(cov, symmetrize_input=False))


def _compute_distance(a: GaussianFactor, b: GaussianFactor) -> float:
    traces = np.linalg.norm(a.factor) ** 2 + np.linalg.norm(b.factor) ** 2
    shift = np.sum(np.square(a.mean - b.mean))
    distance = float(shift + traces - 2 * _sum_singular_values(a.factor, b.factor))
    if not np.isfinite(distance):
        raise JaxfidError("frechet distance: LAPACK's eigenvalues did not converge")
    # No factors give less than zero: what is below it is the rounding of equal Gaussians.
    return max(distance, 0.0)


def _sum_singular_values(
    factor_a: Float[np.ndarray, "d p"], factor_b: Float[np.ndarray, "d q"]
) -> float:
    """Returns the sum of the singular values of `factor_a.T @ factor_b`, by Gram matrices.

    A Gram matrix's eigenvalues are off by rounding of the largest, which spoils the roots of small ones.
    The norms of the rows along its eigenvectors are not off (1e-15 of the sum), but for those of spoiled
    ones. These rows go round again by themselves, and so against a smaller largest. The products are left
    to NumPy, whose BLAS takes half the time of XLA's in float64.
    """
    rows, total = factor_a.T @ factor_b, 0.0
    rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
    while len(rows):
        vectors, squares = _run_on_cpu(_jit_eigh, rows @ rows.T)
        rows = vectors.T @ rows
        spoiled = squares < _SPOILED * squares[-1]
        total += np.linalg.norm(rows[~spoiled], axis=1).sum()
        rows = rows[spoiled]
    return float(total)


def _factor_cov(cov: Float[np.ndarray, "d d"], name: str) -> Float[np.ndarray, "d r"]:
    """Returns a factor of the covariance: Cholesky's at full rank, else the pivoted one.

    The pivoted one stops at the rank, so that its cost is `d r^2`, a small part of an
    eigen-decomposition where images are fewer than features; pivoting makes it twice as slow at
    full rank. Where it leaves more than rounding behind, the covariance is not one, or was stored
    in float32: then the eigenvectors tell.
    """
    rounding = len(cov) * _EPS * np.diagonal(cov).max(initial=0)
    lower, failed = lapack.dpotrf(cov.T, lower=1)  # its transpose is LAPACK's order already
    if not failed and np.square(np.diagonal(lower)).min() > rounding:
        return lower
    lower, order, rank, _ = lapack.dpstrf(cov, lower=1, tol=rounding)
    # One column of zeros stands for rank 0, because LAPACK knows no empty matrix.
    factor = np.zeros((len(cov), max(rank, 1)))
    factor[order - 1, :rank] = np.tril(lower)[:, :rank]
    if rank == len(cov) or np.abs(cov - factor @ factor.T).max() <= 2 * rounding:
        return factor
    return _factor_by_eigenvectors(cov, name)


def _factor_by_eigenvectors(cov: Float[np.ndarray, "d d"], name: str) -> Float[np.ndarray, "d r"]:
    vectors, values = _run_on_cpu(_jit_eigh, cov)
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


def _factor_features(features: np.ndarray) -> GaussianFactor:
    num_vectors, width = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    if num_vectors <= width:
        return GaussianFactor(mean, (features - mean).T / np.sqrt(num_vectors - 1))
    cov = np.zeros((width, width))
    for start in range(0, num_vectors, _ROWS_AT_ONCE):
        centred = features[start : start + _ROWS_AT_ONCE] - mean
        cov += centred.T @ centred
    return GaussianFactor(mean, _factor_cov(cov / (num_vectors - 1), "features"))


def _check_same_width(name_a: str, a: np.ndarray, name_b: str, b: np.ndarray) -> None:
    if a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"{name_a}, {name_b}: expected the same number of dimensions, "
            f"found {a.shape[-1]} and {b.shape[-1]}"
        )


def _run_on_cpu(function: Callable, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
    """Returns what the jitted function gives in float64 on this process's CPU, as NumPy arrays.

    The CPU whatever the default backend: LAPACK is faster there than the solvers of GPUs, and TPUs
    have no float64.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise JaxfidError(
            "JAX was started without its CPU backend, which the distance needs: "
            "add cpu to JAX_PLATFORMS, as in JAX_PLATFORMS=cuda,cpu"
        ) from error
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, function(*jax.device_put(arrays, cpu)))
