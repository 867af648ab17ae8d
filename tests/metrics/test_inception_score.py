import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics import inception_score as module
from jaxfid.metrics.inception_score import inception_score
from tests.metrics.features import load_expected, make_many_logits, make_small_features

LOGITS = make_small_features()[2]
MANY_LOGITS = make_many_logits()
# The same float64 formula summed in another order.
ROUNDING = {"rel": 1e-12}


def test_agrees_with_torch_fidelity():
    score, expected = inception_score(LOGITS), load_expected()
    assert score.value == pytest.approx(expected["torch_fidelity_inception_score_mean"], **ROUNDING)
    assert score.std == pytest.approx(expected["torch_fidelity_inception_score_std"], **ROUNDING)
    assert (score.num_splits, score.convention) == (10, "torch_fidelity")


def test_agrees_with_adm():
    score = inception_score(MANY_LOGITS, convention="adm")
    assert score.value == pytest.approx(load_expected()["adm_inception_score"], **ROUNDING)
    assert (score.num_splits, score.convention) == (3, "adm")


def test_conventions_differ():
    assert inception_score(LOGITS).value != inception_score(LOGITS, convention="adm").value


@pytest.mark.parametrize("convention", ["torch_fidelity", "adm"])
def test_is_one_where_every_image_has_the_same_classes(convention):
    same = np.tile(LOGITS[:1], (50, 1))
    assert inception_score(same, convention=convention).value == pytest.approx(1, **ROUNDING)


def test_is_the_number_of_classes_where_each_image_is_sure_and_classes_are_balanced():
    sure = np.tile(3000 * np.eye(7), (10, 1))  # exp(-3000) is 0: an absent class must add nothing
    assert inception_score(sure, convention="adm").value == pytest.approx(7, **ROUNDING)


def test_ignores_a_constant_added_to_an_images_logits():
    shifted = LOGITS.astype(np.float64) + np.linspace(-50, 50, len(LOGITS))[:, None]
    expected = inception_score(LOGITS.astype(np.float64))
    assert inception_score(shifted).value == pytest.approx(expected.value, **ROUNDING)


def test_adm_splits_in_order():
    within, across = MANY_LOGITS.copy(), MANY_LOGITS.copy()
    within[:5000] = within[:5000][::-1]
    across[[0, 5000]] = across[[5000, 0]]
    value = inception_score(MANY_LOGITS, convention="adm").value
    assert inception_score(within, convention="adm").value == pytest.approx(value, **ROUNDING)
    assert abs(inception_score(across, convention="adm").value - value) > 1e-8


def test_one_split_has_no_spread():
    assert inception_score(LOGITS, convention="adm").std is None


def test_number_of_splits_acts():
    one = inception_score(LOGITS, num_splits=1)
    assert one.value == pytest.approx(inception_score(LOGITS, convention="adm").value, **ROUNDING)
    assert (one.num_splits, one.std) == (1, None)
    assert inception_score(LOGITS, num_splits=5).num_splits == 5


def test_standard_error_is_the_spread_over_independent_samples():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 12))
    samples = (rng.normal(size=(200, 4)) @ mixing for _ in range(200))
    found = [inception_score(sample, num_splits=4) for sample in samples]
    spread = np.std([x.value for x in found], ddof=1)
    # 200 samples give the spread to 5 %; the rest is what is not linear.
    assert np.mean([x.stderr for x in found]) == pytest.approx(spread, rel=0.17)


def test_standard_error_is_that_of_the_mean_divergence():
    p = np.exp(LOGITS.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    divergence = np.sum(p * np.log(p / p.mean(axis=0)), axis=1)
    score = inception_score(LOGITS, convention="adm")
    assert np.log(score.value) == pytest.approx(divergence.mean(), **ROUNDING)
    expected = score.value * divergence.std(ddof=1) / np.sqrt(len(LOGITS))
    assert score.stderr == pytest.approx(expected, **ROUNDING)


def test_splits_of_one_image_have_no_standard_error():
    assert inception_score(LOGITS[:10]).stderr is None


def test_takes_device_arrays():
    assert inception_score(jnp.asarray(LOGITS)) == inception_score(LOGITS)


def test_leaves_float64_off():
    inception_score(LOGITS)
    assert not jax.config.jax_enable_x64


def test_splits_of_unequal_sizes_compile_once():
    before = module._split_score._cache_size()
    inception_score(np.zeros((103, 5), np.float32))
    assert module._split_score._cache_size() == before + 1


@pytest.mark.parametrize(
    ("logits", "convention", "message"),
    [
        (LOGITS, "tensorflow", "convention: expected torch_fidelity or adm, found 'tensorflow'"),
        (LOGITS[:9], "torch_fidelity", "logits: expected at least 10 images, found 9"),
        (LOGITS[:0], "adm", "logits: expected at least 1 images, found 0"),
        (LOGITS[0], "adm", r"logits: expected a floating array .* found float32 of shape \(11,\)"),
        (np.ones((20, 3), int), "adm", "expected a floating array .* found int64"),
        (np.full((20, 3), np.nan), "adm", "logits: expected finite numbers"),
    ],
)
def test_refuses(logits, convention, message):
    with pytest.raises(InputError, match=message):
        inception_score(logits, convention=convention)


def test_refuses_no_splits():
    with pytest.raises(InputError, match="num_splits: expected 1 or more, found 0"):
        inception_score(LOGITS, num_splits=0)
