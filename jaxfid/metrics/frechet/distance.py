"""The squared Frechet distance between Gaussians, from moments or features.

Everything here checks its arguments, factors both covariances and asks `solve` for the value. It is
computed in float64 on the CPU and good to 1e-8 of the traces at every rank.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxfid.metrics.blocks import check_features
from jaxfid.metrics.frechet.factor import (
    GaussianFactor,
    check_same_width,
    factor_covariance,
    factor_features,
)
from jaxfid.metrics.frechet.solve import solve_factors, solve_frechet
from jaxfid.stats.gaussian import check_gaussian


def frechet_distance(
    mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike
) -> float:
    """Returns the squared Frechet distance between two Gaussians.

    `|mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 sqrt(cov_a cov_b))`, symmetric in the two sides.
    It is an FID only when the moments are of Inception features under one named protocol.

    Args:
      mean_a: Mean of shape `(d,)`.
      cov_a: Covariance of shape `(d, d)`, of any rank.
      mean_b: The other mean.
      cov_b: The other covariance.

    Raises:
      InputError: Wrong or unequal shapes, not finite, not symmetric, or eigenvalues more negative
        than `factor.NEGATIVE_BOUND` allows. The message names the argument.

    Source: Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982.
    """
    mean_a, cov_a = check_gaussian(mean_a, cov_a, mean_name="mean_a", cov_name="cov_a")
    mean_b, cov_b = check_gaussian(mean_b, cov_b, mean_name="mean_b", cov_name="cov_b")
    check_same_width(mean_a=mean_a, mean_b=mean_b)
    reference = factor_covariance(mean_a, cov_a, "cov_a")
    return solve_factors(reference, factor_covariance(mean_b, cov_b, "cov_b")).value


def frechet_distance_from_features(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Returns the squared Frechet distance between the Gaussians fitted to two sets of features.

    Covariances have ddof 1. A set with no more vectors than dimensions is never turned into a
    covariance, which gives the same value and is much cheaper.

    Args:
      features_a: Shape `(n, d)`, at least 2 vectors. They are taken to float64 in blocks.
      features_b: The same for the other set; `n` may differ, `d` may not.

    Raises:
      InputError: Wrong or unequal shapes, fewer than 2 vectors, not finite.
    """
    features_a, features_b = np.asarray(features_a), np.asarray(features_b)
    check_features(2, features_a=features_a, features_b=features_b)
    reference = factor_features(features_a, "features_a")
    return solve_factors(reference, factor_features(features_b, "features_b")).value


def prepare_reference(mean: ArrayLike, cov: ArrayLike) -> GaussianFactor:
    """Returns the reference with its covariance factored, to be scored against many times.

    Raises:
      InputError: As `frechet_distance`.
    """
    mean, cov = check_gaussian(mean, cov)
    return factor_covariance(mean, cov, "cov")


def frechet_distance_to(reference: GaussianFactor, mean: ArrayLike, cov: ArrayLike) -> float:
    """Returns what `frechet_distance` does, without factoring the reference again.

    Raises:
      InputError: As `frechet_distance`.
    """
    return solve_frechet(reference, mean, cov).value
