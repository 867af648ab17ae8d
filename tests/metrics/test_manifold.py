import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics import cover as module
from jaxfid.metrics.manifold import manifold_scores
from jaxfid.metrics.neighbours import neighbour_distances
from tests.metrics.features import load_expected, make_small_features, make_ties

REFERENCE, GENERATED = make_small_features()[:2]
SHARES = ("precision", "recall", "density", "coverage")


def shares(scores):
    return {name: getattr(scores, name) for name in SHARES}


def plain_scores(reference, generated, precision_k=3, density_k=5):
    """Returns the definitions, spelled out on whole matrices of directly subtracted features."""

    def squared(x, y):
        return np.stack([np.square(row - y.astype(np.float64)).sum(-1) for row in x])

    def radii(x, k):
        return np.sort(squared(x, x), axis=1)[:, k]

    pairs = squared(reference, generated)
    inside = pairs < radii(reference, density_k)[:, None]
    return {
        "precision": (pairs <= radii(reference, precision_k)[:, None]).any(axis=0).mean(),
        "recall": (pairs <= radii(generated, precision_k)).any(axis=1).mean(),
        "density": inside.sum(axis=0).mean() / density_k,
        "coverage": inside.any(axis=1).mean(),
    }


def test_agrees_with_torch_fidelity_and_prdc():
    scores, expected = manifold_scores(REFERENCE, GENERATED), load_expected()
    # Counts, so equal; torch-fidelity's means are float32.
    assert scores.precision == pytest.approx(expected["torch_fidelity_float32_precision"], rel=1e-7)
    assert scores.recall == pytest.approx(expected["torch_fidelity_float32_recall"], rel=1e-7)
    for name in SHARES:  # no tie here, so prdc's `<` of precision and recall counts the same
        assert getattr(scores, name) == pytest.approx(expected[f"prdc_{name}"], rel=1e-15), name


def test_roles_are_not_swapped():
    scores, swapped = manifold_scores(REFERENCE, GENERATED), manifold_scores(GENERATED, REFERENCE)
    assert (swapped.precision, swapped.recall) == (scores.recall, scores.precision)
    assert scores.precision > scores.recall + 0.3  # less spread: good images, little variety
    assert scores.density > swapped.density + 1
    assert len(scores.realism) == len(GENERATED)


def test_agrees_with_the_plain_formula_at_other_neighbours():
    scores = manifold_scores(REFERENCE, GENERATED, precision_k=5, density_k=3)
    assert shares(scores) == pytest.approx(plain_scores(REFERENCE, GENERATED, 5, 3), rel=1e-15)


def test_equal_sets_cover_each_other():
    scores = manifold_scores(REFERENCE, REFERENCE[::-1])
    # In each ball lie its centre and the k - 1 images nearer than the k-th, which is a tie.
    assert shares(scores) == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}


def test_ties_with_copies_count_by_the_definition():
    rng = np.random.default_rng(0)
    reference = 5 + rng.random((66, 512), np.float32)
    copies = reference[rng.permutation(66)[:20]]
    generated = np.concatenate([copies, 5 + rng.random((24, 512), np.float32)])
    scores = manifold_scores(reference, generated, block_size=22)
    assert shares(scores) == pytest.approx(plain_scores(reference, generated), rel=1e-15)


@pytest.mark.parametrize("few", [3, 64])
@pytest.mark.parametrize("name", make_ties())
def test_screening_in_float32_changes_no_count(name, few, monkeypatch):
    monkeypatch.setattr(module, "_FEW", few)
    reference, generated = make_ties()[name]
    screened = manifold_scores(reference, generated, metrics=SHARES, block_size=23)
    # Realism is a ratio, for which every distance is float64.
    exact = manifold_scores(reference, generated, metrics=(*SHARES, "realism"), block_size=23)
    assert shares(screened) == shares(exact)
    assert (screened.precision_stderr, screened.density_stderr) == (
        exact.precision_stderr,
        exact.density_stderr,
    )
    if name != "one far away":  # the far row moves the centre, and with it what counts as a tie
        assert shares(screened) == pytest.approx(plain_scores(reference, generated), rel=1e-14)


def test_most_images_are_decided_by_float32(monkeypatch):
    asked = []
    plain = module._look_again

    def count(pair, radii, wrong, found):
        asked.append(len(wrong))
        plain(pair, radii, wrong, found)

    monkeypatch.setattr(module, "_look_again", count)
    manifold_scores(REFERENCE, GENERATED, metrics=SHARES)
    assert sum(asked) < 0.1 * (len(REFERENCE) + len(GENERATED))
    asked.clear()
    manifold_scores(*make_ties()["lattice"], metrics=SHARES)
    assert asked  # a test of ties that meets none would show nothing


def test_balls_of_radius_zero_hold_copies_in_precision_only():
    points = 5 + np.random.default_rng(0).random((11, 512), np.float32)
    scores = manifold_scores(np.repeat(points, 6, axis=0), np.tile(points, (8, 1)), block_size=22)
    assert shares(scores) == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}


def test_sets_far_apart_do_not_meet():
    scores = manifold_scores(REFERENCE, GENERATED + 100)
    assert shares(scores) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    assert (scores.precision_stderr, scores.density_stderr) == (0, 0)
    assert scores.realism.max() < 0.1


def test_block_size_changes_nothing():
    whole = manifold_scores(REFERENCE, GENERATED)
    cut = manifold_scores(REFERENCE, GENERATED, block_size=7)  # the last one reaches back
    assert cut == whole
    np.testing.assert_allclose(cut.realism, whole.realism, rtol=1e-13)


def test_order_of_images_changes_nothing():
    whole = manifold_scores(REFERENCE, GENERATED)
    turned = manifold_scores(REFERENCE[::-1], GENERATED[::-1], block_size=7)
    assert shares(turned) == shares(whole)
    np.testing.assert_allclose(turned.realism[::-1], whole.realism, rtol=1e-13)


def test_scale_and_shift_change_nothing():
    moved = manifold_scores(4 * REFERENCE + 64, 4 * GENERATED + 64)
    assert shares(moved) == shares(manifold_scores(REFERENCE, GENERATED))


def test_realism_is_the_largest_ratio_among_the_smaller_half_of_the_balls():
    squared = np.square(REFERENCE[:, None].astype(np.float64) - GENERATED).sum(-1)
    radii = neighbour_distances(REFERENCE, k=3)[:, 2]
    small = radii <= np.median(radii)
    expected = np.sqrt(radii[small, None] / squared[small]).max(axis=0)
    realism = manifold_scores(REFERENCE, GENERATED).realism
    np.testing.assert_allclose(realism, expected, rtol=1e-12)
    assert realism.min() < 1 < realism.max()


def test_a_copy_of_a_reference_image_is_very_real():
    copied = np.concatenate([GENERATED, REFERENCE])
    realism = manifold_scores(REFERENCE, copied, block_size=7).realism
    assert realism[:90].max() < 10
    radii = neighbour_distances(REFERENCE, k=3)[:, 2]
    np.testing.assert_array_equal(realism[90:] > 1e5, radii <= np.median(radii) + 1e-9)


def test_standard_errors_are_the_spread_over_independent_samples():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(100, 3))
    neighbours = neighbour_distances(reference, k=5)
    samples = (rng.normal(0.5, 1, size=(80, 3)) for _ in range(300))
    options = {"metrics": ("precision", "density"), "reference_neighbours": neighbours}
    scores = [manifold_scores(reference, sample, **options) for sample in samples]
    for name in ("precision", "density"):
        spread = np.std([getattr(s, name) for s in scores])
        stderr = np.mean([getattr(s, f"{name}_stderr") for s in scores])
        assert stderr == pytest.approx(spread, rel=0.15)  # 300 samples give the spread to 4 %


def test_prepared_neighbours_stand_for_the_reference():
    neighbours = neighbour_distances(REFERENCE, k=9)
    prepared = manifold_scores(REFERENCE, GENERATED, reference_neighbours=neighbours)
    assert prepared == manifold_scores(REFERENCE, GENERATED)
    farther = manifold_scores(REFERENCE, GENERATED, reference_neighbours=2 * neighbours)
    assert farther.density > prepared.density


@pytest.mark.parametrize("name", SHARES)
def test_a_metric_by_itself_is_the_same_and_alone(name):
    alone = manifold_scores(REFERENCE, GENERATED, metrics=[name])
    assert getattr(alone, name) == getattr(manifold_scores(REFERENCE, GENERATED), name)
    assert [n for n in SHARES if getattr(alone, n) is not None] == [name]
    assert alone.realism is None


def test_a_metric_needs_no_images_for_the_k_of_another():
    few = manifold_scores(REFERENCE[:5], GENERATED[:5], metrics=["precision", "recall", "realism"])
    assert few.precision == plain_scores(REFERENCE[:5], GENERATED[:5], 3, 4)["precision"]
    one = manifold_scores(REFERENCE, GENERATED[:1], metrics=["density"])
    assert one.density == pytest.approx(plain_scores(REFERENCE, GENERATED[[0] * 4])["density"])


@pytest.mark.parametrize("offset", [3e4, -1e6])
def test_distance_from_the_origin_changes_no_count(offset):
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(130, 64)) + offset
    generated = 0.9 * rng.normal(size=(110, 64)) + 0.3 + offset
    scores = manifold_scores(reference, generated)
    assert shares(scores) == pytest.approx(plain_scores(reference, generated), rel=1e-15)
    assert 0 < scores.precision < 1


def test_copies_far_from_the_origin_are_ties():
    points = 3e4 + np.random.default_rng(0).random((11, 512))
    scores = manifold_scores(np.repeat(points, 6, axis=0), np.tile(points, (8, 1)), block_size=22)
    assert shares(scores) == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}


def test_takes_device_arrays():
    on_device = manifold_scores(jnp.asarray(REFERENCE), jnp.asarray(GENERATED))
    assert on_device == manifold_scores(REFERENCE, GENERATED)


def test_ragged_blocks_compile_once():
    module._cover_block.clear_cache()
    manifold_scores(REFERENCE[:, :5], GENERATED[:, :5], block_size=7)
    assert module._cover_block._cache_size() == 1


def test_prints_no_arrays():
    scores = manifold_scores(REFERENCE, GENERATED)
    assert "array" not in repr(scores)
    assert {field.name for field in dataclasses.fields(scores)} >= {*SHARES, "realism"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision_k": 0}, "precision_k, density_k: expected 1 or more, found"),
        (
            {"precision_k": 90},
            "generated_features: expected at least 91 images for recall with k = 90, found 90",
        ),
        (
            {"density_k": 120, "metrics": ["density"]},
            "reference_features: expected at least 121 images for density with k = 120, found 120",
        ),
        ({"metrics": ["fid"]}, r"metrics: expected some of precision, .* found \['fid'\]"),
        (
            {"reference_neighbours": np.ones((120, 4))},
            r"reference_neighbours: expected shape \(120, 5 or more\), found \(120, 4\)",
        ),
        ({"reference_neighbours": np.ones((90, 5))}, r"expected shape \(120, 5 or more\)"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(InputError, match=message):
        manifold_scores(REFERENCE, GENERATED, **options)


def test_refuses_features():
    with pytest.raises(InputError, match="expected features of one width"):
        manifold_scores(REFERENCE, GENERATED[:, :3])
    with pytest.raises(InputError, match=r"reference_features: expected .* found int64 of shape"):
        manifold_scores(np.ones((9, 24), int), GENERATED)
