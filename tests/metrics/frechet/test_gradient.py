"""The gradient is the slope of the distance, also where singular values coincide or vanish."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.frechet.distance import frechet_distance_from_features, prepare_reference
from jaxfid.metrics.frechet.factor import GaussianFactor
from jaxfid.metrics.frechet.gradient import frechet_objective, nuclear_norm

WIDTH = 6
RNG = np.random.default_rng(0)


def gaussian(count: int) -> np.ndarray:
    return RNG.standard_normal((count, WIDTH)) @ np.diag([4, 2, 1, 1, 0.5, 0.1]) + 1


def reference_of(features: np.ndarray) -> GaussianFactor:
    return prepare_reference(features.mean(0), np.cov(features.T))


def isotropic() -> GaussianFactor:
    return prepare_reference(np.zeros(WIDTH), np.eye(WIDTH))


def symmetric_batch() -> np.ndarray:
    """Features whose covariance is a multiple of the identity: all singular values coincide."""
    return np.concatenate([np.eye(WIDTH), -np.eye(WIDTH)])


def value_and_grad(features, reference):
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(frechet_objective)(jnp.asarray(features), reference)
        return float(value), np.asarray(gradient)


FEW, MANY, REFERENCE = gaussian(4), gaussian(20), gaussian(30)
CASES = {
    "more images than features": (MANY, reference_of(REFERENCE)),
    "fewer images than features": (FEW, reference_of(REFERENCE)),
    "a deficient reference": (MANY, reference_of(gaussian(3))),
    "both deficient": (FEW, reference_of(gaussian(3))),
    "repeated eigenvalues": (symmetric_batch(), isotropic()),
    "images twice": (np.concatenate([FEW, FEW]), reference_of(REFERENCE)),
    "a feature that does not vary": (MANY * [1, 1, 1, 1, 1, 0], reference_of(REFERENCE)),
    "equal images": (np.ones((5, WIDTH)), reference_of(REFERENCE)),
}


@pytest.mark.parametrize(("features", "reference"), CASES.values(), ids=CASES)
def test_gradient_is_the_slope(features, reference):
    _, gradient = value_and_grad(features, reference)
    assert np.isfinite(gradient).all()
    step = 1e-5
    for _ in range(5):
        direction = RNG.standard_normal(features.shape)
        ahead, behind = (
            value_and_grad(features + s * direction, reference)[0] for s in (step, -step)
        )
        # Central, so that a kink, where singular values vanish, has the slope of its middle. Off by the
        # square of the step, and by 1e-15 of values near 50 over the step.
        slope = (ahead - behind) / (2 * step)
        assert slope == pytest.approx(np.vdot(gradient, direction), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("features", "reference"), CASES.values(), ids=CASES)
def test_value_is_the_distance(features, reference):
    value, _ = value_and_grad(features, reference)
    count = reference.factor.shape[1] + 1
    # Images that have the reference's moments: a simplex, moved by the factor.
    simplex = np.linalg.qr(np.concatenate([np.ones((count, 1)), np.eye(count)[:, 1:]], 1))[0][:, 1:]
    images = reference.mean + np.sqrt(count - 1) * simplex @ reference.factor.T
    expected = frechet_distance_from_features(images, features)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_reference_itself_is_the_minimum():
    value, gradient = value_and_grad(REFERENCE, reference_of(REFERENCE))
    assert value == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inside_a_program_without_float64(dtype):
    reference = reference_of(REFERENCE)
    expected, slope = value_and_grad(MANY, reference)

    @jax.jit
    def value_and_gradient(features):
        return jax.value_and_grad(lambda f: 3 * frechet_objective(f, reference, dtype=dtype))(
            features
        )

    value, gradient = value_and_gradient(jnp.asarray(MANY, jnp.float32))
    assert value.dtype == gradient.dtype == jnp.float32
    # float32 features, of which a float64 solve makes the best and a float32 one adds its own rounding.
    tolerance = {"float64": 1e-6, "float32": 1e-5}[dtype]
    assert value == pytest.approx(3 * expected, rel=tolerance)
    np.testing.assert_allclose(gradient, 3 * slope, atol=tolerance * np.abs(slope).max() * 10)


def test_the_float64_solve_is_one():
    rng = np.random.default_rng(1)
    far = (rng.standard_normal((8, WIDTH)) + 1000).astype(np.float32)
    reference = reference_of(far + 0.01 * rng.standard_normal(far.shape))
    exact, _ = value_and_grad(far.astype(np.float64), reference)
    errors = [
        abs(float(frechet_objective(jnp.asarray(far), reference, dtype=dtype)) / exact - 1)
        for dtype in ("float64", "float32")
    ]
    assert errors[0] < 1e-6 < 1e-4 < errors[1]


def test_descending_reaches_the_reference():
    reference = reference_of(REFERENCE)
    step = jax.jit(lambda f: f - 3 * jax.grad(lambda f: frechet_objective(f, reference))(f))
    features = jnp.asarray(MANY, jnp.float32)
    before = frechet_objective(features, reference)
    for _ in range(100):
        features = step(features)
    assert frechet_objective(features, reference) < 1e-3 * before


def test_nuclear_norm_of_nothing_has_a_finite_gradient():
    np.testing.assert_array_equal(jax.grad(nuclear_norm)(jnp.zeros((3, 4))), 0)


def test_wrong_arguments_are_named():
    reference = isotropic()
    with pytest.raises(InputError, match=r"features: expected shape \(n, 6\) with n >= 2, found"):
        frechet_objective(jnp.zeros((1, 6)), reference)
    with pytest.raises(InputError, match="features: expected floating point, found int32"):
        frechet_objective(jnp.zeros((3, 6), int), reference)
    with pytest.raises(InputError, match="dtype: expected float64 or float32, found 'bfloat16'"):
        frechet_objective(jnp.zeros((3, 6)), reference, dtype="bfloat16")
