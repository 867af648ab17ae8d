"""The Frechet distance obeys its laws and closed forms, at every rank, by every route."""

import jax
import numpy as np
import pytest

from jaxfid.errors import InputError, JaxfidError
from jaxfid.metrics.frechet import factor as gaussian_factor
from jaxfid.metrics.frechet import solve
from jaxfid.metrics.frechet.distance import (
    frechet_distance,
    frechet_distance_from_features,
    frechet_distance_to,
    prepare_reference,
)
from jaxfid.metrics.frechet.scipy_check import frechet_distance_scipy
from tests.shared_data import SHARED, load_goldens, needs_shared

WIDTH = 24

# Everything is float64 and its error a few roundings of the traces: 2.2e-16 times the square root
# of the number of operations stays below this share of them at every size used here.
ROUNDING = 1e-13

# What the solve promises where spectra are steep: squares of singular values have lost the small ones,
# and beyond this share of the traces they are computed again. The network's own rounding is 1e-6.
SOLVE = solve.ACCURACY


def make_rotation(seed=0, width=WIDTH):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def make_cov(variances, rotation):
    cov = (rotation * variances) @ rotation.T
    return (cov + cov.T) / 2


def make_gaussian(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=WIDTH), make_cov(rng.uniform(0.1, 3, WIDTH), make_rotation(seed))


def make_features(num_vectors, seed, width=WIDTH):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_vectors, width)) @ rng.normal(size=(width, width)) + rng.normal()


def moments(features):
    return features.mean(axis=0), np.cov(features, rowvar=False)


def traces(*covs):
    return sum(np.trace(cov) for cov in covs)


A, B, C = (make_gaussian(seed) for seed in range(3))


def test_a_gaussian_is_at_distance_zero_of_itself():
    assert 0 <= frechet_distance(*A, *A) <= ROUNDING * traces(A[1], A[1])


def test_the_two_sides_may_be_exchanged():
    there, back = frechet_distance(*A, *B), frechet_distance(*B, *A)
    assert there > 1
    assert abs(there - back) <= ROUNDING * traces(A[1], B[1])


def test_a_shift_of_the_mean_adds_its_square():
    shift = np.arange(WIDTH) / 10
    distance = frechet_distance(A[0], A[1], A[0] + shift, A[1])
    np.testing.assert_allclose(distance, shift @ shift, rtol=ROUNDING * 10)


@pytest.mark.parametrize("rotation", [np.eye(WIDTH), make_rotation()], ids=["diagonal", "rotated"])
def test_covariances_that_commute_have_a_closed_form(rotation):
    rng = np.random.default_rng(5)
    a, b = rng.uniform(0.1, 4, (2, WIDTH))
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum()
    found = frechet_distance(
        np.zeros(WIDTH), make_cov(a, rotation), np.zeros(WIDTH), make_cov(b, rotation)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * (a.sum() + b.sum()))


def test_covariances_that_do_not_commute_have_one_by_their_transport_map():
    # x -> T x with T symmetric positive definite is optimal, so cov_b = T cov_a T is at distance
    # trace(cov_a + cov_b - 2 T cov_a).
    transport = make_cov(np.linspace(0.5, 2, WIDTH), make_rotation(9))
    cov_b = transport @ A[1] @ transport
    expected = np.trace(A[1] + cov_b - 2 * transport @ A[1])
    found = frechet_distance(A[0], A[1], A[0], cov_b)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * traces(A[1], cov_b))


def test_in_one_dimension_it_is_the_squared_differences_of_mean_and_deviation():
    found = frechet_distance([1.0], [[4.0]], [3.0], [[0.25]])
    assert found == pytest.approx((1 - 3) ** 2 + (2 - 0.5) ** 2, rel=ROUNDING)


def test_a_joint_rotation_and_shift_change_nothing():
    rotation = make_rotation(7)
    moved = [(rotation @ mean + 1, make_cov(1, rotation @ np.linalg.cholesky(cov)))
             for mean, cov in (A, B)]  # fmt: skip
    found, expected = frechet_distance(*moved[0], *moved[1]), frechet_distance(*A, *B)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * traces(A[1], B[1]))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_it_scales_with_the_square_of_the_features(scale):
    a, b = ((scale * mean, scale**2 * cov) for mean, cov in (A, B))
    np.testing.assert_allclose(
        frechet_distance(*a, *b), scale**2 * frechet_distance(*A, *B), rtol=ROUNDING * 10
    )


def test_its_root_obeys_the_triangle_inequality():
    ab, bc, ac = (frechet_distance(*x, *y) ** 0.5 for x, y in ((A, B), (B, C), (A, C)))
    assert ac < ab + bc


ASIDE = np.eye(WIDTH)
ASIDE[1:, 1:] = make_rotation(1, WIDTH - 1)


@pytest.mark.parametrize("order", [1, -1], ids=["large_first", "large_last"])
@pytest.mark.parametrize("rotation", [make_rotation(), ASIDE], ids=["rotated", "aside"])
@pytest.mark.parametrize("floor", [1e-4, 1e-6, 1e-8, 1e-10])
def test_small_variances_beside_a_large_one_lose_nothing(floor, rotation, order):
    # The product's eigenvalues span the square of this, so that in float64 the small ones are off
    # by 1e-16 of the largest: their plain roots would err by 1e-11 at 1e-4 and by 1e-8 at 1e-8.
    a = np.where(np.arange(WIDTH) == 0, 1, floor)
    b = a * np.linspace(0.5, 2, WIDTH)
    transport = make_cov(np.linspace(0.5, 2, WIDTH), make_rotation(9))
    rotation = rotation[::order]
    cov_a, mean = make_cov(a, rotation), np.zeros(WIDTH)
    cov_b = make_cov(1, transport @ (rotation * np.sqrt(a)))
    expected = np.trace(cov_a + cov_b - 2 * transport @ cov_a)
    found = frechet_distance(mean, cov_a, mean, cov_b)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SOLVE * traces(cov_a, cov_b))
    found = frechet_distance(mean, cov_a, mean, make_cov(b, rotation))
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum()
    np.testing.assert_allclose(found, expected, rtol=0, atol=SOLVE * (a.sum() + b.sum()))


@pytest.mark.parametrize("smallest", [1e-4, 1e-8, 1e-12])
def test_variances_that_fall_from_one_to_the_next_lose_nothing(smallest):
    # As image features have them: there is no gap to part large ones from small ones at.
    width = 200
    a = np.geomspace(1, smallest, width)
    b, mean = a * np.linspace(0.5, 2, width), np.zeros(width)
    covs = [make_cov(variances, make_rotation(1, width)) for variances in (a, b)]
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum()
    found = frechet_distance(mean, covs[0], mean, covs[1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=SOLVE * (a.sum() + b.sum()))


@pytest.fixture
def count_svds(monkeypatch):
    """How often singular values were computed themselves."""
    calls, jitted = [], solve._jit_svd
    monkeypatch.setattr(solve, "_jit_svd", lambda x: (calls.append(1), jitted(x))[1])
    return lambda: len(calls)


def test_directions_that_only_one_side_has_lose_nothing(count_svds):
    # Two subspaces that cross: half of the singular values are 0 although no variance is, and of what
    # rounding puts in the place of their squares the roots are 1e-8.
    width = 2 * WIDTH
    a, b, rotation = np.zeros(width), np.zeros(width), make_rotation(2, width)
    a[: width // 2] = np.linspace(1, 2, width // 2)
    b[width // 4 : 3 * width // 4] = np.linspace(1, 3, width // 2)
    expected, mean = np.square(np.sqrt(a) - np.sqrt(b)).sum(), np.zeros(width)
    found = frechet_distance(mean, make_cov(a, rotation), mean, make_cov(b, rotation))
    np.testing.assert_allclose(found, expected, rtol=0, atol=SOLVE * (a.sum() + b.sum()))
    assert count_svds() == 1


@pytest.mark.parametrize("smallest", [1e-2, 1e-5])
def test_spectra_of_image_features_need_no_singular_value_decomposition(count_svds, smallest):
    width = 100
    a = np.geomspace(1, smallest, width)
    covs = [make_cov(a * scale, make_rotation(0, width)) for scale in (1, np.linspace(1, 2, width))]
    frechet_distance(np.zeros(width), covs[0], np.zeros(width), covs[1])
    frechet_distance_from_features(make_features(5, 0), make_features(9, 1))
    assert count_svds() == 0


def test_what_squares_would_lose_is_computed_again(monkeypatch):
    # A hundred singular values of 1e-9 of the largest, of whose squares rounding leaves nothing.
    a = np.array([1.0] + 100 * [1e-8])
    cov, mean = make_cov(a, make_rotation(0, 101)), np.zeros(101)
    assert frechet_distance(mean, cov, mean, cov) < 1e-12
    monkeypatch.setattr(solve, "ACCURACY", 1.0)
    assert frechet_distance(mean, cov, mean, cov) > 1e-7


@pytest.mark.parametrize("share", [1e-8, 1e-10, 1e-13])
def test_long_rows_that_are_nearly_dependent_lose_nothing(share):
    # The small ones beside them fall so that eigenvalues taken by size seem to be theirs.
    small, mean = 0.01 ** np.arange(1, 7), np.zeros(8)
    cov_a, cov_b = np.diag([1, 1.01, *small]), np.diag([1, share, *small])
    cov_a[0, 1] = cov_a[1, 0] = 0.5
    expected = (
        np.trace(cov_a + cov_b)
        - 2 * np.sqrt(np.linalg.eigvals(cov_a[:2, :2] @ cov_b[:2, :2])).sum()
    )
    expected -= 2 * small.sum()
    found = frechet_distance(mean, cov_a, mean, cov_b)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SOLVE * traces(cov_a, cov_b))


def draw_spectrum(rng):
    spectra = (
        np.geomspace(1, 10 ** -rng.uniform(0, 12), WIDTH),
        np.where(np.arange(WIDTH) < rng.integers(1, WIDTH), 1, 10 ** -rng.uniform(2, 12)),
        10 ** -rng.uniform(0, 10, WIDTH),
    )
    return rng.permutation(spectra[rng.integers(3)]) * 10 ** rng.uniform(-3, 3)


def draw_directions(rng):
    noise = rng.normal(size=(WIDTH, WIDTH))
    block = np.eye(WIDTH)
    block[1::2, 1::2] = np.linalg.qr(noise[1::2, 1::2])[0]
    kinds = (
        np.eye(WIDTH),
        np.linalg.qr(noise)[0],
        block,
        np.linalg.qr(np.eye(WIDTH) + noise / 1e4)[0],
    )
    return kinds[rng.integers(4)]


def test_no_spectrum_and_no_directions_mislead_it():
    # 8,000 more of these pairs are drawn by scripts/bench/solve_accuracy.py.
    rng, mean = np.random.default_rng(0), np.zeros(WIDTH)
    for _ in range(300):
        a, b = (draw_directions(rng) * np.sqrt(draw_spectrum(rng)) for _ in range(2))
        covs = a @ a.T, b @ b.T
        root = np.linalg.svd(a.T @ b, compute_uv=False).sum()
        found = frechet_distance(mean, covs[0], mean, covs[1])
        assert abs(found - max(traces(*covs) - 2 * root, 0)) <= SOLVE * traces(*covs)


def test_a_variance_that_is_rounding_is_none():
    a = np.where(np.arange(WIDTH) < 20, np.linspace(1, 2, WIDTH), 1e-16)
    b = np.linspace(0.5, 3, WIDTH)
    expected = np.square(np.sqrt(a[:20]) - np.sqrt(b[:20])).sum() + b[20:].sum()
    found = frechet_distance(np.zeros(WIDTH), np.diag(a), np.zeros(WIDTH), np.diag(b))
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * (a.sum() + b.sum()))


@pytest.mark.parametrize("rank", [0, 1, WIDTH - 1])
def test_deficient_covariances_have_their_closed_form_too(rank):
    rotation = make_rotation(3)
    a = np.where(np.arange(WIDTH) < rank, np.linspace(1, 2, WIDTH), 0)
    b = np.linspace(0.5, 3, WIDTH)
    mean, cov_a, cov_b = np.zeros(WIDTH), make_cov(a, rotation), make_cov(b, rotation)
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum()
    scale = a.sum() + b.sum()
    for pair in ((cov_a, cov_b), (cov_b, cov_a)):
        found = frechet_distance(mean, pair[0], mean, pair[1])
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * scale)
    assert frechet_distance(mean, cov_a, mean, cov_a) <= ROUNDING * scale


def test_covariances_without_a_common_direction_are_as_far_apart_as_their_traces():
    rotation, first = make_rotation(4), np.arange(WIDTH) < 5
    a, b = make_cov(1.0 * first, rotation), make_cov(2.0 * ~first, rotation)
    mean = np.zeros(WIDTH)
    np.testing.assert_allclose(frechet_distance(mean, a, mean, b), traces(a, b), rtol=ROUNDING)


@pytest.mark.parametrize("sizes", [(5, 9), (WIDTH, WIDTH + 1), (9, 200), (200, 150)])
def test_features_give_the_distance_of_their_moments(sizes):
    a, b = make_features(sizes[0], 0), make_features(sizes[1], 1)
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    found = frechet_distance_from_features(a, b)
    expected = frechet_distance(mean_a, cov_a, mean_b, cov_b)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * traces(cov_a, cov_b))


@pytest.mark.parametrize(("count", "rank"), [(5, 4), (WIDTH, WIDTH - 1), (200, WIDTH)])
def test_factors_have_as_many_columns_as_the_covariance_has_rank(count, rank):
    features = make_features(count, 0)
    mean, cov = moments(features)
    by_features = gaussian_factor.factor_features(features, "features")
    by_cov = gaussian_factor.factor_covariance(mean, cov, "cov")
    for gaussian in (by_features, by_cov):
        assert gaussian.factor.shape == (WIDTH, rank)
        np.testing.assert_allclose(gaussian.mean, mean, rtol=1e-14)
        np.testing.assert_allclose(
            gaussian.factor @ gaussian.factor.T, cov, rtol=0, atol=ROUNDING * np.trace(cov)
        )


def test_features_are_summed_in_blocks_without_a_seam(monkeypatch):
    a, b = make_features(200, 0), make_features(150, 1)
    expected = frechet_distance_from_features(a, b)
    monkeypatch.setattr(gaussian_factor, "_ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(frechet_distance_from_features(a, b), expected, rtol=ROUNDING * 10)


def test_float32_features_are_summed_in_float64():
    # An offset a thousand times the spread leaves nothing of a float32 covariance.
    a, b = (make_features(200, seed) / 100 + 100 for seed in (0, 1))
    a, b = a.astype(np.float32), b.astype(np.float32)
    exact = frechet_distance_from_features(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(frechet_distance_from_features(a, b), exact, rtol=1e-9)


def test_a_prepared_reference_gives_the_same_again_and_again():
    reference = prepare_reference(*A)
    for other in (B, C):
        assert frechet_distance_to(reference, *other) == frechet_distance(*A, *other)


def test_it_agrees_with_scipy_at_full_rank():
    found, expected = frechet_distance(*A, *B), frechet_distance_scipy(*A, *B)
    np.testing.assert_allclose(found, expected, rtol=1e-9)  # what sqrtm itself is good to


def test_scipy_takes_deficient_covariances_without_a_word(capsys):
    a, b = moments(make_features(5, 0)), moments(make_features(9, 1))
    found, expected = frechet_distance_scipy(*a, *b), frechet_distance(*a, *b)
    # Of 24 eigenvalues of the product 20 are rounding, 1e-16 of the largest; so are their roots, 1e-8.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * traces(a[1], b[1]))
    assert capsys.readouterr().out == ""


def test_lists_and_jax_arrays_are_taken():
    expected = frechet_distance(*A, *B)
    assert frechet_distance(A[0].tolist(), A[1].tolist(), *B) == expected
    with jax.enable_x64(True):
        assert frechet_distance(*map(jax.numpy.asarray, (*A, *B))) == expected


def test_neither_default_device_nor_debug_flags_change_anything():
    expected = frechet_distance(*A, *B)
    deficient = moments(make_features(5, 0))
    with jax.default_device(jax.devices("cpu")[3]), jax.debug_nans(True):
        assert frechet_distance(*A, *B) == expected
        assert frechet_distance(*deficient, *A) > 0
        nothing = np.zeros(WIDTH), np.diag(np.arange(WIDTH) < 2) * 1.0
        assert frechet_distance(*nothing, np.zeros(WIDTH), np.eye(WIDTH) - nothing[1]) == WIDTH
    assert not jax.config.jax_enable_x64


def test_the_context_of_the_caller_changes_nothing():
    expected = frechet_distance(*A, *B)
    with jax.set_mesh(jax.make_mesh((2,), ("x",))):
        assert frechet_distance(*A, *B) == expected
    with jax.transfer_guard("disallow"), jax.numpy_rank_promotion("raise"):
        assert frechet_distance(*A, *B) == expected
    with jax.numpy_dtype_promotion("strict"), jax.enable_x64(True):
        assert frechet_distance(*A, *B) == expected


def test_a_process_without_a_cpu_backend_is_told_how_to_get_one(monkeypatch):
    devices = jax.local_devices()

    def no_cpu(backend=None):
        if backend == "cpu":
            raise RuntimeError(f"Unknown backend {backend}")
        return devices

    monkeypatch.setattr(jax, "local_devices", no_cpu)
    with pytest.raises(JaxfidError, match="JAX_PLATFORMS=cuda,cpu"):
        frechet_distance(*A, *B)


def test_nothing_is_compiled_twice():
    frechet_distance(*A, *B)
    before = solve._jit_eigh._cache_size()
    frechet_distance(*B, *C)
    assert solve._jit_eigh._cache_size() == before > 0


def test_rounding_of_other_tools_is_taken():
    cov = A[1].copy()
    cov[0, 1] += 1e-6  # float32 sums that differ in order
    near = frechet_distance(A[0], cov, *B)
    np.testing.assert_allclose(near, frechet_distance(*A, *B), rtol=1e-5)
    mean, deficient = moments(make_features(WIDTH - 4, 0))
    stored = deficient.astype(np.float32)
    assert np.linalg.eigvalsh(stored.astype(np.float64))[0] < 0
    near = frechet_distance(mean, stored, *B)
    exact = frechet_distance(mean, deficient, *B)
    # Four eigenvalues of 1e-7 of the largest are left where 0 belongs; their roots are 3e-4.
    np.testing.assert_allclose(near, exact, rtol=0, atol=1e-3 * traces(stored, B[1]))


def with_entry(array, index, value):
    array = array.copy()
    array[index] = value
    return array


NEGATIVE = make_cov(np.linspace(-0.1, 1, WIDTH), make_rotation())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((A[0], A[1], B[0][1:], B[1]), r"cov_b: expected shape \(23, 23\)"),
        ((A[0], A[1], B[0][1:], B[1][1:, 1:]), "mean_a, mean_b: .* found 24 and 23"),
        ((A[0][None], A[1], *B), r"mean_a: expected shape \(d,\)"),
        ((np.zeros(0), np.zeros((0, 0)), *B), "mean_a: expected shape .* d >= 1"),
        ((with_entry(A[0], 3, np.nan), A[1], *B), "mean_a: expected finite .* 1 of 24"),
        ((*A, B[0], with_entry(B[1], (0, 0), np.inf)), "cov_b: expected finite"),
        ((*A, B[0], with_entry(B[1], (0, 1), 9.0)), "cov_b: expected a symmetric matrix"),
        ((*A, B[0], NEGATIVE), "cov_b: .* no negative eigenvalues, found -0.1 .* largest is 1"),
        ((A[0], -A[1], *B), "cov_a: .* no negative eigenvalues"),
        ((A[0] + 1j, A[1], *B), "mean_a: expected real numbers, found dtype complex128"),
    ],
)
def test_what_is_no_gaussian_is_refused_by_name(arguments, message):
    with pytest.raises(InputError, match=message):
        frechet_distance(*arguments)


def test_a_prepared_reference_refuses_other_widths():
    with pytest.raises(InputError, match=r"reference, mean: .* found 24 and 1"):
        frechet_distance_to(prepare_reference(*A), [0.0], [[1.0]])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((1, 4)), np.ones((3, 4)), "features_a: expected at least 2"),
        (np.ones((3, 4)), np.ones((3, 5)), "one width"),
        (np.ones(4), np.ones((3, 4)), "features_a: .* found float64 of shape"),
        (np.ones((3, 4)), np.full((3, 4), np.nan), "features_b: expected finite"),
    ],
)
def test_features_that_cannot_be_scored_are_refused_by_name(a, b, message):
    with pytest.raises(InputError, match=message):
        frechet_distance_from_features(a, b)


def load_pool3(name):
    return np.load(SHARED / "data" / "flowers" / f"{name}-pool3.npz")["features"]


def load_pairs():
    roses, daisy = load_pool3("roses"), load_pool3("daisy")
    return {"roses_vs_daisy": (roses, daisy), "roses_even_vs_odd": (roses[0::2], roses[1::2])}


@needs_shared
@pytest.mark.parametrize("pair", ["roses_vs_daisy", "roses_even_vs_odd"])
def test_true_pool3_features_give_the_known_distance(pair):
    expected = load_goldens()["true_features"][pair]
    # The expected values carry float64 rounding of about 1e-10; the promise is 1e-6.
    assert abs(frechet_distance_from_features(*load_pairs()[pair]) - expected) < 1e-8


@needs_shared
@pytest.mark.parametrize("width", [300, pytest.param(2048, marks=pytest.mark.slow)])
def test_true_features_and_their_covariances_agree_where_vectors_are_few(width):
    a, b = (
        features[:250, :width].astype(np.float64) for features in load_pairs()["roses_vs_daisy"]
    )
    found, expected = (
        frechet_distance(*moments(a), *moments(b)),
        frechet_distance_from_features(a, b),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-11)  # traces are 1e2 of what is rounded
