import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics import kernel_sums as module
from jaxfid.metrics.kernel import _polynomial_kernel, kernel_distance
from tests.metrics.features import load_expected, make_small_features

REFERENCE, GENERATED = (x.astype(np.float64) for x in make_small_features()[:2])
# The same float64 sums in another order: the terms are about 30 times the distance.
ROUNDING = {"rel": 1e-12}
# Float32 products: 1e-7 of a kernel value of about 4, averaged over 100 times 100 pairs and more.
FLOAT32_ROUNDING = {"abs": 2e-8}


def plain_mmd2(x, y):
    def kernel(a, b):
        return (np.einsum("id,jd->ij", a, b) / a.shape[1] + 1) ** 3

    def off_diagonal_mean(k):
        return k[~np.eye(len(k), dtype=bool)].mean()

    return (
        off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2 * kernel(x, y).mean()
    )


@pytest.mark.parametrize("first_drawn", ["reference", "generated"])
def test_subsets_agree_with_torch_fidelity(first_drawn):
    distance = kernel_distance(REFERENCE, GENERATED, subset_size=50, first_drawn=first_drawn)
    prefix, expected = f"{first_drawn}_first_kernel_inception_distance", load_expected()
    assert distance.subset_mean == pytest.approx(expected[f"{prefix}_mean"], **ROUNDING)
    assert distance.subset_std == pytest.approx(expected[f"{prefix}_std"], **ROUNDING)
    assert (distance.num_subsets, distance.subset_size) == (100, 50)


def test_value_agrees_with_clean_fid():
    value = kernel_distance(REFERENCE[:90], GENERATED).value
    assert value == pytest.approx(load_expected()["clean_fid_kid"], **ROUNDING)


def test_value_agrees_with_the_plain_formula():
    value = kernel_distance(REFERENCE, GENERATED).value
    assert value == pytest.approx(plain_mmd2(REFERENCE, GENERATED), **ROUNDING)


def test_kernel_is_scikit_learns_polynomial_of_degree_3():
    # sklearn.metrics.pairwise.polynomial_kernel: (gamma <x, y> + coef0)^degree, gamma = 1 / d, coef0 = 1.
    with jax.enable_x64(True):
        values = np.asarray(_polynomial_kernel(jnp.asarray(REFERENCE), jnp.asarray(GENERATED)))
    for i, j in itertools.product(range(0, 120, 17), range(0, 90, 13)):
        plain = (sum(x * y for x, y in zip(REFERENCE[i], GENERATED[j], strict=True)) / 24 + 1) ** 3
        assert values[i, j] == pytest.approx(plain, rel=1e-14)  # sums of 24 float64 products


def test_block_size_changes_nothing():
    whole = kernel_distance(REFERENCE, GENERATED, subset_size=50)
    cut = kernel_distance(
        REFERENCE, GENERATED, subset_size=50, block_size=7
    )  # the last reaches back
    for name in ("value", "stderr", "stderr_both", "subset_mean", "subset_std"):
        assert getattr(cut, name) == pytest.approx(getattr(whole, name), **ROUNDING), name


def test_order_of_images_changes_only_subsets():
    a = kernel_distance(REFERENCE, GENERATED, subset_size=50)
    b = kernel_distance(REFERENCE[::-1], GENERATED[::-1], subset_size=50)
    assert (b.value, b.stderr) == pytest.approx((a.value, a.stderr), **ROUNDING)
    assert abs(b.subset_mean - a.subset_mean) > 1e-6


def test_is_symmetric_but_for_whose_sampling_the_error_is():
    a, b = kernel_distance(REFERENCE, GENERATED), kernel_distance(GENERATED, REFERENCE)
    assert (a.value, a.stderr_both) == pytest.approx((b.value, b.stderr_both), **ROUNDING)
    assert np.hypot(a.stderr, b.stderr) == pytest.approx(a.stderr_both, **ROUNDING)
    assert abs(a.stderr - b.stderr) > 1e-3 * a.stderr


def test_standard_errors_are_jackknifes():
    x, y = REFERENCE[:13], GENERATED[:11]
    left_out = np.array([plain_mmd2(x, np.delete(y, i, axis=0)) for i in range(11)])
    variance = 10 / 11 * np.sum((left_out - left_out.mean()) ** 2)
    assert kernel_distance(x, y).stderr == pytest.approx(np.sqrt(variance), rel=1e-10)


def test_standard_error_is_the_spread_over_independent_samples():
    rng = np.random.default_rng(0)
    reference = np.abs(rng.normal(size=(150, 6)))
    samples = (np.abs(rng.normal(0.3, 1, size=(60, 6))) for _ in range(400))
    distances = [kernel_distance(reference, sample, num_subsets=1) for sample in samples]
    spread = np.std([d.value for d in distances])
    # 400 samples give the spread to 4 %; the rest is the jackknife's own bias.
    assert np.mean([d.stderr for d in distances]) == pytest.approx(spread, rel=0.25)


def test_float32_features_lose_next_to_nothing():
    narrow = (REFERENCE.astype(np.float32), GENERATED.astype(np.float32))
    exact = kernel_distance(REFERENCE, GENERATED, subset_size=50)
    distance = kernel_distance(*narrow, subset_size=50)
    assert distance.value == pytest.approx(exact.value, **FLOAT32_ROUNDING)
    assert distance.subset_mean == pytest.approx(exact.subset_mean, **FLOAT32_ROUNDING)
    assert kernel_distance(*map(jnp.asarray, narrow), subset_size=50) == distance


def test_products_keep_float32_on_accelerators():
    with jax.enable_x64(True):
        rows, members = np.ones((4, 8), np.float32), np.ones((4, 1), bool)
        options = {"kernel": _polynomial_kernel, "without_diagonal": True}
        lowered = module._sum_values.lower(rows, rows, members, members, **options)
    assert "precision = [HIGHEST, HIGHEST]" in lowered.as_text()


def test_seed_acts():
    a, b = (kernel_distance(REFERENCE, GENERATED, subset_size=50, seed=s) for s in (0, 1))
    assert a.value == b.value
    assert a.subset_mean != b.subset_mean


def test_a_set_smaller_than_a_subset_has_no_subsets():
    distance = kernel_distance(REFERENCE, GENERATED, subset_size=91)
    assert (distance.subset_mean, distance.subset_std, distance.num_subsets) == (None, None, 0)
    assert np.isfinite(distance.value)


def test_ragged_blocks_compile_once_per_kind():
    before = module._sum_values._cache_size()
    x = np.ones((95, 5), np.float32)
    kernel_distance(x, x + 1, subset_size=20, block_size=7)
    assert module._sum_values._cache_size() == before + 2  # with the diagonal, and without


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_subsets": 0}, "num_subsets, subset_size: .* found 0 of 1000"),
        ({"subset_size": 1}, "num_subsets, subset_size: .* found 100 of 1"),
        ({"first_drawn": "input1"}, "first_drawn: expected reference or generated, found 'input1'"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(InputError, match=message):
        kernel_distance(REFERENCE, GENERATED, **options)


def test_refuses_features():
    with pytest.raises(InputError, match="generated_features: expected at least 3 images, found 2"):
        kernel_distance(REFERENCE, GENERATED[:2])
    with pytest.raises(InputError, match="expected features of one width"):
        kernel_distance(REFERENCE, GENERATED[:, :3])
