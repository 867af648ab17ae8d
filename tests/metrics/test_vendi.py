import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.vendi import vendi_score, vendi_score_from_second_moment
from tests.metrics.features import make_small_features

FEATURES = make_small_features()[0].astype(np.float64)
# Eigenvalues of 24 x 24 and of 120 x 120 matrices err by 1e-15 of the largest, their entropy by some more.
ROUNDING = {"rel": 1e-12}


def plain_vendi(features):
    """Returns the definition: eigenvalues of the n x n cosine similarities over n."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    eigenvalues = eigenvalues[eigenvalues > 1e-13]
    return np.exp(-np.sum(eigenvalues * np.log(eigenvalues)))


@pytest.mark.parametrize("count", [120, 10])  # more images than features, and fewer
def test_agrees_with_the_n_by_n_definition(count):
    features = FEATURES[:count] - 0.5
    assert vendi_score(features).value == pytest.approx(plain_vendi(features), **ROUNDING)


def test_copies_of_one_image_are_one():
    assert vendi_score(np.tile(FEATURES[:1], (9, 1))).value == pytest.approx(1, **ROUNDING)


def test_orthogonal_images_count_each():
    assert vendi_score(5 * np.eye(7)).value == pytest.approx(7, **ROUNDING)


def test_copies_order_lengths_and_rotations_change_nothing():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    lengths = rng.uniform(0.01, 100, size=(240, 1))
    moved = (np.tile(FEATURES, (2, 1))[rng.permutation(240)] * lengths) @ rotation
    assert vendi_score(moved).value == pytest.approx(vendi_score(FEATURES).value, **ROUNDING)


def test_block_size_changes_nothing():
    whole, cut = vendi_score(FEATURES), vendi_score(FEATURES, block_size=7)
    assert (cut.value, cut.stderr) == pytest.approx((whole.value, whole.stderr), **ROUNDING)


def test_takes_device_arrays_and_float32():
    narrow = FEATURES.astype(np.float32)
    assert vendi_score(jnp.asarray(narrow)) == vendi_score(narrow)
    assert vendi_score(narrow).value == pytest.approx(plain_vendi(narrow.astype(float)), **ROUNDING)


@pytest.mark.parametrize("scale", [1.0, 1 / 120])
def test_raw_sums_give_the_same_whatever_their_divisor(scale):
    unit = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    value = vendi_score_from_second_moment(scale * (unit.T @ unit))
    assert value == pytest.approx(vendi_score(FEATURES).value, **ROUNDING)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_standard_error_is_the_spread_over_independent_samples(decay):
    rng = np.random.default_rng(0)
    scales = np.arange(1, 9) ** -decay
    found = [vendi_score(rng.normal(size=(200, 8)) * scales) for _ in range(200)]
    spread = np.std([x.value for x in found], ddof=1)
    ratio = np.mean([x.stderr for x in found]) / spread
    # 200 samples give the spread to 5 %. Equal eigenvalues are where the linear part vanishes.
    assert (0.85 < ratio < 1.15) if decay else (1.1 < ratio < 1.6)


def test_refuses():
    with pytest.raises(InputError, match="features: expected at least 2 images, found 1"):
        vendi_score(FEATURES[:1])
    with pytest.raises(InputError, match="features: expected finite numbers that are not all 0"):
        vendi_score(np.zeros((3, 2)))
    with pytest.raises(InputError, match="second_moment: expected finite numbers"):
        vendi_score_from_second_moment(np.full((2, 2), np.nan))
    with pytest.raises(InputError, match=r"second_moment: expected shape .* found \(2, 3\)"):
        vendi_score_from_second_moment(np.ones((2, 3)))
