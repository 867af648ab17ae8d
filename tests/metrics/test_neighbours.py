import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics import distances
from jaxfid.metrics import neighbours as module
from jaxfid.metrics.neighbours import neighbour_distances
from tests.metrics.features import make_small_features, make_ties

FEATURES = make_small_features()[0]


def plain_neighbours(features, k):
    squared = np.square(features[:, None].astype(np.float64) - features).sum(-1)
    np.fill_diagonal(squared, np.inf)
    return np.sort(squared, axis=1)[:, :k]


@pytest.mark.parametrize("block_size", [7, 500])
def test_agrees_with_the_plain_formula_whatever_the_blocks(block_size):
    nearest = neighbour_distances(FEATURES, k=5, block_size=block_size)
    # Lengths of 24 and more, in float64, beside squared distances of 5 and more.
    np.testing.assert_allclose(nearest, plain_neighbours(FEATURES, 5), rtol=1e-13)


def test_every_other_image_is_a_neighbour_at_most():
    nearest = neighbour_distances(FEATURES[:30], k=29, block_size=10)
    np.testing.assert_allclose(nearest, plain_neighbours(FEATURES[:30], 29), rtol=1e-13)


def test_copies_are_neighbours_at_distance_zero():
    features = np.repeat(1 + np.random.default_rng(0).random((20, 2048), np.float32), 3, axis=0)
    nearest = neighbour_distances(features, k=3, block_size=20)
    assert nearest[:, :2].max() <= distances.ROUNDING * 2 * np.square(features).sum(1).max()
    assert nearest[:, 2].min() > 1


@pytest.mark.parametrize("block_size", [17, 500])
@pytest.mark.parametrize("name", make_ties())
def test_finds_what_float32_cannot_tell_apart(name, block_size):
    features = make_ties()[name][0]
    nearest = neighbour_distances(features, k=4, block_size=block_size)
    # Differences of the features themselves, squared in float64; a copy is at 0 but for rounding.
    scale = np.square(features.astype(np.float64)).sum(1).max()
    expected = plain_neighbours(features, 4)
    np.testing.assert_allclose(nearest, expected, rtol=1e-13, atol=1e-15 * scale)


def test_a_row_that_float32_leaves_open_is_searched_in_float64(monkeypatch):
    searched = []
    plain = module._search_all
    monkeypatch.setattr(
        module, "_search_all", lambda *given: searched.extend(given[1]) or plain(*given)
    )
    neighbour_distances(make_ties()["shell"][0], k=4)
    assert searched
    searched.clear()
    neighbour_distances(FEATURES, k=4)
    assert not searched


def test_takes_device_arrays():
    np.testing.assert_array_equal(
        neighbour_distances(jnp.asarray(FEATURES), k=5, block_size=7),
        neighbour_distances(FEATURES, k=5, block_size=7),
    )


def test_ragged_blocks_compile_once_per_kind():
    module._least_bounds.clear_cache()
    neighbour_distances(FEATURES, k=4, block_size=7)
    assert module._least_bounds._cache_size() == 2  # within a block, and across two


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "k: expected the first neighbour or a later one, found 0"),
        (120, "features: expected at least 121 images, found 120"),
    ],
)
def test_refuses(k, message):
    with pytest.raises(InputError, match=message):
        neighbour_distances(FEATURES, k=k)
