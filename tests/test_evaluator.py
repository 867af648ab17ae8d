"""An evaluator gives what the facade gives of the same images, and refuses what it cannot answer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics, compute_stats
from jaxfid.evaluator import Evaluator
from jaxfid.stats.files import Stats, load_stats, save_stats
from jaxfid.stats.moments import Moments

SETTINGS = {"dims": 64, "weights": "untrained", "blocks": 2}


def make_images(count: int, seed: int) -> np.ndarray:
    """Random pixels around a colour of each image's own, so that features differ."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 216, (count, 1, 1, 3))
    return (colours + rng.integers(-40, 40, (count, 16, 16, 3))).astype(np.uint8)


REAL, GENERATED = make_images(40, 1), make_images(132, 0)  # 66 without a block: of full rank


@functools.cache
def reference() -> Stats:
    return compute_stats(REAL, **SETTINGS)


@functools.cache
def evaluator(**options) -> Evaluator:
    return Evaluator(reference(), **SETTINGS, **options)


@functools.cache
def state_of(count: int) -> Moments:
    """Of the first few generated images."""
    return evaluator().update(evaluator().init(), GENERATED[:count])


def fid(scoring: Evaluator, state: Moments) -> float:
    return scoring.compute(state).metrics["fid"].value


def test_compute_gives_what_the_facade_gives():
    (expected,) = compute_metrics(reference(), [GENERATED], **SETTINGS).results

    @jax.jit
    def score(evaluator, images):
        return jax.lax.scan(lambda s, x: (evaluator.update(s, x), None), evaluator.init(), images)

    state, _ = score(evaluator(), GENERATED.reshape(2, 66, 16, 16, 3))
    scored = evaluator().compute(state, name=expected.generated)
    assert scored.num_images == 132
    assert scored.warnings == expected.warnings
    # Features of two compiled networks, float32: relative 1e-6, in a distance of some hundred times less.
    known = expected.metrics["fid"]
    assert scored.metrics["fid"].value == pytest.approx(known.value, rel=1e-4)
    assert scored.metrics["fid"].stderr == pytest.approx(known.stderr, rel=1e-3)


def test_floating_images_and_states_of_several_devices():
    scoring = evaluator(value_range=(-1, 1))
    images = jnp.asarray(GENERATED[:24] / np.float32(127.5) - 1)
    update = jax.pmap(lambda s, x: scoring.update(s, x))
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), scoring.init())
    states = update(states, images.reshape(2, 12, 16, 16, 3))
    assert fid(scoring, states) == pytest.approx(fid(evaluator(), state_of(24)), rel=1e-4)


def test_statistics_go_to_a_file_with_what_they_depend_on(tmp_path):
    scoring = Evaluator(**SETTINGS)
    state = scoring.update(scoring.init(), REAL)
    save_stats(tmp_path / "stats.npz", scoring.stats(state))
    loaded = load_stats(tmp_path / "stats.npz")
    assert loaded.count == len(REAL)
    assert loaded.provenance["protocol"] == "legacy_tensorflow"
    assert loaded.provenance["quantize"] is True
    np.testing.assert_allclose(loaded.mean, reference().mean, rtol=1e-5)
    largest = np.abs(loaded.cov).max()
    np.testing.assert_allclose(loaded.cov, reference().cov, rtol=0, atol=1e-5 * largest)
    with pytest.raises(InputError, match="reference: none was given"):
        scoring.compute(state)


def test_a_reference_of_images_is_seen_with_the_same_settings():
    scoring = Evaluator(REAL, **SETTINGS)
    state = state_of(24)
    assert fid(scoring, state) == pytest.approx(fid(evaluator(), state), rel=1e-6)


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(InputError, match=r"the evaluator cannot be compared .* protocol clean"):
        Evaluator(reference(), protocol="clean", **SETTINGS)
    with pytest.raises(InputError, match=r"metrics: .* give fid alone; found fid, kid"):
        Evaluator(metrics="fid,kid", **SETTINGS)
    with pytest.raises(InputError, match=r"value_range: expected \(0, 255\), \(0, 1\), \(-1, 1\)"):
        Evaluator(value_range=(-1, 2), **SETTINGS)
    with pytest.raises(InputError, match=r"a covariance .* needs at least 2 images, found 0"):
        evaluator().compute(evaluator().init())


def test_nan_gives_no_number():
    scoring = evaluator(value_range=(-1, 1))
    images = jnp.zeros((24, 16, 16, 3)).at[5, 3, 3].set(jnp.nan)
    with pytest.raises(InputError, match="features are NaN or infinite"):
        scoring.compute(scoring.update(scoring.init(), images))


def test_sums_on_the_host():
    scoring = Evaluator(reference(), sums="host", **SETTINGS)
    state = scoring.update(scoring.init(), GENERATED[:24])
    assert isinstance(state.outer, np.ndarray)
    # The same program gives the features; sums differ in the order of float64 additions.
    assert fid(scoring, state) == pytest.approx(fid(evaluator(), state_of(24)), rel=1e-9)
