import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxfid.errors import InputError
from jaxfid.metrics.frechet import infinity as module
from jaxfid.metrics.frechet.distance import frechet_distance, prepare_reference
from jaxfid.metrics.frechet.infinity import frechet_distance_infinity
from tests.metrics.features import load_expected, make_infinity_features

MEAN, COV, FEATURES = make_infinity_features()
REFERENCE = prepare_reference(MEAN, COV)


def test_agrees_with_the_authors_code():
    found = frechet_distance_infinity(REFERENCE, FEATURES, least_images=5000)
    # Theirs is SciPy's sqrtm of the product, good to 1e-8 of the traces.
    assert found.value == pytest.approx(load_expected()["fid_infinity"], rel=1e-7)
    assert (found.num_images[0], found.num_images[-1], len(found.num_images)) == (5000, 6500, 15)


def test_takes_the_bias_of_few_images_away():
    rng = np.random.default_rng(0)
    reference = prepare_reference(np.zeros(20), np.eye(20))
    found = frechet_distance_infinity(reference, rng.normal(size=(4000, 20)))
    # The true distance is 0; 4,000 images leave a sampling error of about 0.004, a bias of 0.03.
    assert abs(found.value) < 0.01
    assert found.distances[-1] > 0.02
    assert found.slope / 4000 == pytest.approx(found.distances[-1] - found.value, rel=0.2)


def test_the_last_point_is_the_whole_set():
    found = frechet_distance_infinity(REFERENCE, FEATURES)
    whole = frechet_distance(MEAN, COV, FEATURES.mean(axis=0), np.cov(FEATURES, rowvar=False))
    assert found.num_images[-1] == len(FEATURES)
    assert found.distances[-1] == pytest.approx(whole, rel=1e-10)


def test_moments_of_any_rows_are_numpys():
    rows = np.random.default_rng(0).permutation(len(FEATURES))[:2345]
    moments = module._sum_moments(FEATURES, rows)
    np.testing.assert_allclose(moments.mean(), FEATURES[rows].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.cov(), np.cov(FEATURES[rows], rowvar=False), rtol=1e-12)
    assert module._sum_moments(FEATURES, rows[:0]).count == 0


def test_line_is_scipys():
    x, y = 1 / np.arange(50, 60), np.random.default_rng(0).random(10)
    fit = scipy.stats.linregress(x, y)
    intercept, slope = (weights @ y for weights in module._line_weights(x))
    assert (intercept, slope) == pytest.approx((fit.intercept, fit.slope), rel=1e-10)


def test_stderr_is_the_spread_of_independent_samples():
    rng = np.random.default_rng(1)
    reference = prepare_reference(np.zeros(8), np.eye(8))
    scales = np.linspace(0.5, 2, 8)
    found = [
        frechet_distance_infinity(reference, rng.normal(size=(400, 8)) * scales, num_points=5)
        for _ in range(150)
    ]
    spread = np.std([each.value for each in found])
    # 150 samples know their own spread to 6 %; 10 % more is what 50 images per feature may be off by.
    assert np.mean([each.stderr for each in found]) == pytest.approx(spread, rel=0.16)


def test_a_line_that_starts_with_few_images_has_no_error_bar():
    features = np.random.default_rng(0).normal(size=(80, 8))
    reference = prepare_reference(np.zeros(8), np.eye(8))
    assert frechet_distance_infinity(reference, features).stderr > 0
    assert frechet_distance_infinity(reference, features[:79]).stderr is None
    assert frechet_distance_infinity(reference, features, least_images=39).stderr is None


def test_says_which_side_is_debiased():
    assert frechet_distance_infinity(REFERENCE, FEATURES).debiased == "generated"


def test_options_act():
    found = frechet_distance_infinity(REFERENCE, FEATURES)
    assert found == frechet_distance_infinity(REFERENCE, FEATURES, seed=0)
    assert found.value != frechet_distance_infinity(REFERENCE, FEATURES, seed=1).value
    other = frechet_distance_infinity(REFERENCE, FEATURES, num_points=4, least_images=500)
    assert other.num_images == (500, 2500, 4500, 6500)
    assert len(other.distances) == 4


def test_starts_at_half_of_a_small_set():
    assert frechet_distance_infinity(REFERENCE, FEATURES).num_images[0] == 3250


def test_takes_device_arrays():
    narrow = FEATURES.astype(np.float32)
    on_device = frechet_distance_infinity(REFERENCE, jnp.asarray(narrow))
    assert on_device == frechet_distance_infinity(REFERENCE, narrow)


def test_subsets_of_any_size_compile_once():
    before = module._block_moments._cache_size()
    frechet_distance_infinity(
        prepare_reference(np.zeros(5), np.eye(5)), np.random.default_rng(0).random((3000, 5))
    )
    assert module._block_moments._cache_size() == before + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 2}, "num_points, least_images: .* found 2 from 3250 to 6500"),
        ({"least_images": 1}, "num_points, least_images: .* found 15 from 1 to 6500"),
        ({"least_images": 6500}, "num_points, least_images: .* found 15 from 6500 to 6500"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(InputError, match=message):
        frechet_distance_infinity(REFERENCE, FEATURES, **options)


def test_refuses_features():
    with pytest.raises(InputError, match="generated_features: expected finite numbers"):
        frechet_distance_infinity(REFERENCE, np.full((100, 8), np.nan))
    with pytest.raises(InputError, match="same number of dimensions, found 8 and 7"):
        frechet_distance_infinity(REFERENCE, FEATURES[:, :7])
