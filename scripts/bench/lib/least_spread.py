"""How well any error bar of a Frechet distance can be known from so many Gaussian features.

The standard error is a function of the mean and covariance of the population. From `count` vectors no
unbiased estimate of such a function varies less than the Cramer-Rao bound allows, which for a Gaussian is

    variance >= (g_m^T C g_m + 2 tr(C g_C C g_C)) / count

with `g_m`, `g_C` the function's derivatives in the mean and the covariance `C`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64

Gaussian = tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, "d d"]]
"""Mean and covariance."""

_Mean = Float64[Array, " d"]
_Cov = Float64[Array, "d d"]


def least_own_spread(generated: Gaussian, reference: Gaussian, count: int) -> float:
    """Returns the least relative spread of an error bar over sets of so many vectors.

    The two Gaussians must differ: where they are one, the standard error has no derivative.
    """
    with jax.enable_x64(True):
        mean, cov, *real = map(jnp.asarray, (*generated, *reference))

        def stderr(mean: _Mean, cov: _Cov) -> Float64[Array, ""]:
            return jnp.sqrt(_variance(jax.grad(_distance, (0, 1))(mean, cov, *real), cov))

        variance = _variance(jax.grad(stderr, (0, 1))(mean, cov), cov)
        return float(jnp.sqrt(variance / count) / stderr(mean, cov))


def _variance(slope: tuple[_Mean, _Cov], cov: _Cov) -> Float64[Array, ""]:
    """Returns `count` times the variance of a function with this slope, by the delta method."""
    of_mean, of_cov = slope
    product = cov @ (of_cov + of_cov.T) / 2
    return of_mean @ cov @ of_mean + 2 * jnp.trace(product @ product)


def _distance(mean: _Mean, cov: _Cov, real_mean: _Mean, real_cov: _Cov) -> Float64[Array, ""]:
    """Returns the Frechet distance by its plain formula, which JAX can differentiate twice."""
    values, vectors = jnp.linalg.eigh(real_cov)
    root = (vectors * jnp.sqrt(values)) @ vectors.T
    shared = jnp.sum(jnp.sqrt(jnp.linalg.eigvalsh(root @ cov @ root)))
    gap = mean - real_mean
    return gap @ gap + jnp.trace(cov) + jnp.trace(real_cov) - 2 * shared
