import jax
import numpy as np
import pytest

from jaxfid.metrics import distances as module
from jaxfid.metrics.distances import CentredFeatures, find_centre
from jaxfid.metrics.manifold import manifold_scores
from jaxfid.metrics.mind import make_directions, mind
from jaxfid.metrics.vendi import vendi_score
from tests.metrics.features import make_small_features


def compute_squared(x, y, centre):
    with jax.enable_x64(True):
        a, b = (CentredFeatures(z, centre, block_size=len(z)) for z in (x, y))
        rows = [z.rows(z.blocks[0]) for z in (a, b)]
        products = module.inner_products(*rows)
        np.testing.assert_allclose(
            module._multiply_on_device(*rows), products, rtol=1e-12, atol=1e-9
        )
        found = jax.jit(module.squared_distances)(
            products, *(z.points(z.blocks[0]) for z in (a, b))
        )
    return map(np.asarray, found)


@pytest.mark.parametrize("centred", [False, True])
def test_rounding_bounds_the_error_of_a_distance(centred):
    rng = np.random.default_rng(0)
    x = (100 * rng.random((50, 2048))).astype(np.float32)
    y = x + rng.normal(size=x.shape).astype(np.float32)
    centre = find_centre(x) if centred else np.zeros(2048)
    squared, rounding = compute_squared(x, y, centre)
    exact = np.square(x[:, None].astype(np.longdouble) - y).sum(-1)
    error = np.abs(squared - exact)
    assert error.max() > 0
    assert (error < rounding / 10).all()


def test_a_centre_takes_the_origin_out_of_the_rounding():
    rng = np.random.default_rng(0)
    x, y = (3e4 + rng.normal(size=(20, 64)) for _ in range(2))
    exact = np.square(x[:, None] - y).sum(-1)
    squared, rounding = compute_squared(x, y, find_centre(x))
    # Lengths are then those of the spread: the bound is that of features about the origin.
    assert rounding.max() < 1e-11 * exact.max()
    np.testing.assert_allclose(squared, exact, rtol=1e-12)


def test_the_centre_is_the_mean_whatever_the_blocks(monkeypatch):
    features = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
    monkeypatch.setattr(module, "BLOCK_SIZE", 5)
    np.testing.assert_allclose(
        find_centre(features), features.mean(axis=0, dtype=float), rtol=1e-12
    )


def test_products_on_a_device_give_the_same_metrics(monkeypatch):
    reference, generated = make_small_features()[:2]
    directions = make_directions(3, 24)

    def compute():
        return (
            manifold_scores(reference, generated, block_size=50),
            mind(reference, generated, directions=directions, block_size=50).value,
            vendi_score(generated, block_size=50).value,
        )

    by_blas = compute()
    called = []
    multiply = module._multiply_on_device
    monkeypatch.setattr(module, "_multiply_on_device", lambda *x: called.append(1) or multiply(*x))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # what it decides by
    on_device = compute()
    assert called
    assert on_device[0] == by_blas[0]  # counts
    assert on_device[1:] == pytest.approx(by_blas[1:], rel=1e-12)  # float64 sums in another order
