"""The Frechet distance as an objective: its value, and its gradient in the features of a batch.

The centred features of a batch are a factor of its covariance (see `solve`). The one part of the distance
that is not smooth is then a sum of singular values, and its gradient `U V^T` is finite everywhere. Where
singular values coincide, it does not depend on the choice of their vectors. Where they vanish, the
vectors are left out, which gives the smallest of the subgradients. The square root of a covariance has an
infinite slope there, and every batch of fewer images than features has such a covariance.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped

from jaxfid.errors import InputError
from jaxfid.metrics.frechet.factor import GaussianFactor


def frechet_objective(
    features: Shaped[Array | np.ndarray, "..."],
    reference: GaussianFactor,
    *,
    dtype: str = "float64",
) -> Float[Array, ""]:
    """Returns the squared Frechet distance of features from a reference, differentiable in them.

    It is the value of `frechet_distance_from_features`, with ddof 1, for use inside `jax.grad` and
    `jax.jit`, with x64 enabled or not. Value and gradient have the type of the features. There are first
    derivatives only.

    A few images have a far larger distance than many of the same kind, because their covariance has few
    dimensions. The distance of a batch can be lowered, but the number itself means little.

    Args:
      features: Of shape `(n, d)`, floating, of a batch of at least 2.
      reference: From `prepare_reference`; a constant.
      dtype: What the solve computes in. "float32" is for devices without float64: on pool3 features of
        photographs it moved values by 1e-8 of the traces, gradients by 1e-7 of themselves, and by 4e-6
        where the batch was nearly the reference.

    Raises:
      InputError: Wrong or unequal shapes, not floating, or another `dtype`.

    Source of the gradient: Watson, Characterization of the subdifferential of some matrix norms, 1992.
    """
    shape, width = features.shape, len(reference.mean)
    if len(shape) != 2 or shape[0] < 2 or shape[1] != width:
        raise InputError(f"features: expected shape (n, {width}) with n >= 2, found {shape}")
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise InputError(f"features: expected floating point, found {features.dtype}")
    if dtype not in ("float64", "float32"):
        raise InputError(f"dtype: expected float64 or float32, found {dtype!r}")
    with jax.enable_x64(True):
        mean, factor = (jnp.asarray(array, dtype) for array in (reference.mean, reference.factor))
    return _objective(jnp.asarray(features), mean, factor)


@jax.custom_vjp
def _objective(features: Array, mean: Array, factor: Array) -> Array:
    with jax.enable_x64(True):
        return _jit_distance(features, mean, factor).astype(features.dtype)


def _objective_forward(features: Array, mean: Array, factor: Array) -> tuple[Array, Array]:
    # The gradient is computed here, because JAX runs the backward pass without float64.
    with jax.enable_x64(True):
        value, gradient = _jit_distance_and_gradient(features, mean, factor)
        return value.astype(features.dtype), gradient


def _objective_backward(gradient: Array, upstream: Array) -> tuple[Array, None, None]:
    return upstream * gradient, None, None


_objective.defvjp(_objective_forward, _objective_backward)


def _distance(features: Array, mean: Array, factor: Array) -> Array:
    features = features.astype(mean.dtype)
    centre = features.mean(0, keepdims=True)
    centred = (features - centre).T / np.sqrt(len(features) - 1)
    shift = jnp.sum(jnp.square(mean - centre[0]))
    traces = jnp.sum(jnp.square(factor)) + jnp.sum(jnp.square(centred))
    cross = jnp.matmul(factor.T, centred, precision=lax.Precision.HIGHEST)
    return shift + traces - 2 * nuclear_norm(cross)


_jit_distance = jax.jit(_distance)
_jit_distance_and_gradient = jax.jit(jax.value_and_grad(_distance))


@jax.custom_vjp
def nuclear_norm(matrix: Float[Array, "m n"]) -> Float[Array, ""]:
    """Returns the sum of the singular values; its gradient is finite where they coincide or vanish."""
    return jnp.sum(lax.linalg.svd(matrix, compute_uv=False))


def _nuclear_norm_forward(matrix: Array) -> tuple[Array, Array]:
    left, values, right = lax.linalg.svd(matrix, full_matrices=False)
    # Below this a singular value is rounding, and its vectors are arbitrary.
    kept = values > values[0] * max(matrix.shape) * jnp.finfo(matrix.dtype).eps
    gradient = jnp.matmul(left * kept[None], right, precision=lax.Precision.HIGHEST)
    return jnp.sum(values), gradient


def _nuclear_norm_backward(gradient: Array, upstream: Array) -> tuple[Array]:
    return (upstream * gradient,)


nuclear_norm.defvjp(_nuclear_norm_forward, _nuclear_norm_backward)
