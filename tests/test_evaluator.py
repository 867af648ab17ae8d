"""An evaluator gives what the facade gives of the same images, and refuses what it cannot answer."""

import dataclasses
import functools
import pickle
import subprocess
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxfid.errors import InputError
from jaxfid.evaluate import compute_features, compute_metrics, compute_stats
from jaxfid.evaluator import Evaluator
from jaxfid.extraction.evaluator_state import EvaluatorState
from jaxfid.extraction.merging import bring_together
from jaxfid.extractors.inception import extractor as inception
from jaxfid.extractors.interface import FeatureNetwork
from jaxfid.preprocessing.protocol import Protocol
from jaxfid.stats.features import Features
from jaxfid.stats.files import Stats, load_stats, save_stats

WIDTH = 6


def make_network() -> FeatureNetwork:
    """A small nonlinear network, so that most of these tests need not wait for Inception."""
    protocol = Protocol("small_8", "tf1_bilinear", 128.0, 128.0, "for tests", 8)
    kernel = np.random.default_rng(2).standard_normal((8 * 8 * 3, WIDTH)).astype(np.float32)

    def apply(params, images):
        flat = images.reshape(len(images), -1)
        return jnp.tanh(jnp.matmul(flat, params, precision="highest") / 10)

    return FeatureNetwork("small", protocol, WIDTH, kernel, apply)


def make_images(count: int, seed: int) -> np.ndarray:
    """Random pixels around a colour of each image's own, so that features differ."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 216, (count, 1, 1, 3))
    return (colours + rng.integers(-40, 40, (count, 16, 16, 3))).astype(np.uint8)


SETTINGS = {"extractor": make_network()}
REAL, GENERATED = make_images(40, 1), make_images(30, 0)


@functools.cache
def reference() -> Stats:
    return compute_stats(REAL, **SETTINGS)


@functools.cache
def evaluator(**options) -> Evaluator:
    return Evaluator(reference(), **SETTINGS, **options)


@functools.cache
def state_of(count: int) -> EvaluatorState:
    """Of the first few generated images."""
    return evaluator().update(evaluator().init(), GENERATED[:count])


def fid(scoring: Evaluator, state: EvaluatorState) -> float:
    (metric,) = scoring.compute(state).metrics.values()
    return metric.value


def test_compute_gives_what_the_facade_gives():
    (expected,) = compute_metrics(reference(), [GENERATED], **SETTINGS).results

    @jax.jit
    def score(evaluator, images):
        return jax.lax.scan(lambda s, x: (evaluator.update(s, x), None), evaluator.init(), images)

    state, _ = score(evaluator(), GENERATED.reshape(2, 15, 16, 16, 3))
    scored = evaluator().compute(state, name=expected.generated)
    assert (scored.num_images, scored.warnings) == (30, expected.warnings)
    assert list(scored.metrics) == ["fd_small"]
    # Features of two compiled networks, float32: relative 1e-6, in a distance of some hundred times less.
    known, found = expected.metrics["fd_small"], scored.metrics["fd_small"]
    assert found.value == pytest.approx(known.value, rel=1e-4)
    # Of the same rows in the same order, with what the features' rounding makes of small differences.
    assert found.stderr == pytest.approx(known.stderr, rel=1e-3)
    np.testing.assert_allclose(found.influence, known.influence, rtol=1e-3)


def test_the_fid_is_that_of_the_facade(monkeypatch):
    settings = {"dims": 64, "weights": "untrained"}
    (expected,) = compute_metrics(REAL[:9], [GENERATED[:8]], **settings).results
    update = jax.jit(lambda evaluator, images: evaluator.update(evaluator.init(), images))
    images = jnp.asarray(GENERATED[:8] / np.float32(127.5) - 1)
    scoring = Evaluator(REAL[:9], value_range=(-1, 1), **settings)
    state = update(scoring, images)
    scored = scoring.compute(state, name=expected.generated)
    assert scored.warnings == expected.warnings
    assert scored.metrics["fid"].value == pytest.approx(expected.metrics["fid"].value, rel=1e-4)
    # Loaded once more, the network is not compiled again.
    traced = []
    monkeypatch.setattr(inception, "extract_features", lambda *a, **k: traced.append(a))
    again = Evaluator(REAL[:9], value_range=(-1, 1), **settings)
    assert fid(again, update(again, images)) == scored.metrics["fid"].value
    assert not traced


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
    assert loaded.provenance["protocol"] == "small_8"
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
    inception = {"dims": 64, "weights": "untrained"}
    with pytest.raises(InputError, match="its features are of small, and those of inception"):
        Evaluator(reference(), **inception)
    with pytest.raises(InputError, match=r"one kind of features, found fid of 64, kid of 2048"):
        Evaluator(metrics="fid,kid", **inception)
    with pytest.raises(InputError, match="num_rows: expected at least 2, found 1"):
        Evaluator(num_rows=1, **SETTINGS)
    with pytest.raises(InputError, match="rows_per_device: expected at least 1, found 0"):
        Evaluator(rows_per_device=0, **SETTINGS)
    with pytest.raises(InputError, match=r"need its images .* a statistics file does not hold"):
        Evaluator(reference(), metrics="kd", **SETTINGS)
    with pytest.raises(InputError, match=r"value_range: expected \(0, 255\), \(0, 1\), \(-1, 1\)"):
        Evaluator(value_range=(-1, 2), **SETTINGS)
    with pytest.raises(InputError, match=r"a covariance .* needs at least 2 images, found 0"):
        evaluator().compute(evaluator().init())


@functools.cache
def test_features_of_another_width_are_refused():
    with pytest.raises(InputError, match=r"features: expected \(n, 6\), found \(8, 2\)"):
        evaluator().update_from_features(state_of(8), np.zeros((8, 2), np.float32))


_WRONG_KINDS = """
import numpy as np
from jaxfid import Evaluator, InputError

scoring = Evaluator(dims=64, weights="untrained")
images = np.zeros((2, 8, 8, 3), np.uint8)
for call in (
    lambda: scoring.update(scoring.init(), [*images]),
    lambda: scoring.update_from_features(scoring.init(), np.zeros((2, 64), np.float32), [True] * 2),
    lambda: scoring.stats([1]),
    lambda: scoring.with_reference(None),
):
    try:
        call()
    except InputError as error:
        print(error)
"""


def test_what_is_no_array_or_no_state_is_refused_by_its_name():
    # In a process of its own: here signatures are checked by the tests, before the message.
    done = subprocess.run(
        [sys.executable, "-c", _WRONG_KINDS], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "images: expected an array of JAX or NumPy, found list",
        "mask: expected an array of JAX or NumPy, found list",
        "state: expected one of an evaluator, found list",
        "reference: expected one, found None",
    ]


def test_a_state_of_another_evaluator_is_not_signed_as_this_ones(tmp_path):
    other = Evaluator(dims=64, weights="untrained").init()
    for use in (evaluator().compute, evaluator().stats):
        with pytest.raises(InputError, match="features, found 64: it is another evaluator's"):
            use(other)
    with pytest.raises(InputError, match="features, found 64: it is another evaluator's"):
        evaluator().save(other, tmp_path / "state.npz")
    assert not any(tmp_path.iterdir())


def features_of(real: bool) -> Features:
    return compute_features(REAL if real else GENERATED, **SETTINGS)


@functools.cache
def all_metrics(num_rows: int) -> Evaluator:
    return Evaluator(features_of(True), metrics="all", num_rows=num_rows, **SETTINGS)


def state_of_features(scoring: Evaluator) -> EvaluatorState:
    """Of all generated images in batches with padding, from the features that the facade sees."""
    padded = np.concatenate([features_of(False).rows, np.full((6, WIDTH), 7, np.float32)])
    state = scoring.init()
    for rows in np.split(np.arange(36), [5, 16]):
        state = scoring.update_from_features(state, padded[rows], rows < 30)
    return state


def test_every_metric_is_that_of_the_facade_while_all_rows_are_kept():
    sides = features_of(True), [features_of(False)]
    (expected,) = compute_metrics(*sides, metrics="all", **SETTINGS).results
    scored = all_metrics(30).compute(state_of_features(all_metrics(30)), name=expected.generated)
    assert list(scored.metrics) == list(expected.metrics)
    assert {"kd_small", "recall_small", "coverage_small", "mind_small"} <= set(scored.metrics)
    assert scored.warnings == expected.warnings
    for name, metric in expected.metrics.items():
        found = scored.metrics[name]
        # Others are of the same rows in the same order. Sums are added in another one.
        if name == "fd_small":
            assert found.value == pytest.approx(metric.value, rel=1e-9)
            assert found.stderr == pytest.approx(metric.stderr, rel=1e-6)
        else:
            assert found == metric, name


def test_metrics_of_a_part_of_the_images_say_so():
    scoring = all_metrics(12)
    scored = scoring.compute(state_of_features(scoring))
    whole = all_metrics(30).compute(state_of_features(all_metrics(30)))
    assert scored.metrics["fd_small"].value == whole.metrics["fd_small"].value
    assert scored.metrics["kd_small"].value != whole.metrics["kd_small"].value
    assert scored.metrics["kd_small"].details["num_rows"] == 12
    assert "num_rows" not in (scored.metrics["fd_small"].details or {})
    assert "from 12 of the 30 images" in scored.warnings[-1]


def test_rows_that_were_added_as_numbers_give_no_metric():
    scoring = all_metrics(30)
    state = dataclasses.replace(state_of_features(scoring), parts=np.array(2, np.int32))
    with pytest.raises(InputError, match=r"added up as numbers.*all_gather"):
        scoring.compute(state)


def counted() -> tuple[FeatureNetwork, list]:
    """The network, and a list that grows each time it is traced, which is before it compiles."""
    network, traces = make_network(), []

    def apply(params, images):
        traces.append(images.shape)
        return network.apply(params, images)

    return dataclasses.replace(network, apply=apply), traces


def test_another_reference_needs_no_new_program():
    network, traces = counted()
    first = Evaluator(REAL, extractor=network)
    second = first.with_reference(GENERATED)
    update = jax.jit(lambda evaluator, state, images: evaluator.update(state, images))
    state = update(first, first.init(), REAL)
    traces.clear()
    update(second, second.init(), REAL)
    assert not traces
    assert fid(first, state) == pytest.approx(0, abs=1e-6)
    again = Evaluator(GENERATED, extractor=network)
    assert fid(second, state) == pytest.approx(fid(again, state), rel=1e-9)
    with pytest.raises(InputError, match="the evaluator cannot be compared with statistics: 6 "):
        first.with_reference(Stats(np.zeros(3), np.eye(3), 9, None))


def test_an_evaluator_never_takes_the_reference_of_another():
    first = evaluator()
    second = first.with_reference(GENERATED)
    through = jax.jit(lambda evaluator: evaluator)
    assert fid(through(first), state_of(24)) == fid(first, state_of(24))
    with pytest.raises(InputError, match="compiled for another one; use the one that went in"):
        through(second).compute(state_of(24))


def test_a_network_compiles_once_for_all_evaluators_and_calls():
    network, traces = counted()
    network.check()  # which is traced at each use, and not compiled
    per_check = len(traces)
    traces.clear()
    for _ in range(2):
        scoring = Evaluator(REAL, extractor=network)
        scoring.update(scoring.init(), GENERATED)
        compute_metrics(REAL, [GENERATED], extractor=network)
    compiled = [shape for shape in traces if shape[0] == 1]  # images go one by one on a CPU
    assert per_check == 1
    assert len(compiled) == 2  # one program for arrays, one for the pass


def test_nan_gives_no_number():
    scoring = evaluator(value_range=(-1, 1))
    images = jnp.zeros((24, 16, 16, 3)).at[5, 3, 3].set(jnp.nan)
    with pytest.raises(InputError, match="features are NaN or infinite"):
        scoring.compute(scoring.update(scoring.init(), images))


def test_sums_on_the_host():
    scoring = Evaluator(reference(), sums="host", **SETTINGS)
    state = scoring.update(scoring.init(), GENERATED[:24])
    assert isinstance(state.moments.outer, np.ndarray)
    # The same program gives the features; sums differ in the order of float64 additions.
    assert fid(scoring, state) == pytest.approx(fid(evaluator(), state_of(24)), rel=1e-9)


def test_sums_in_whole_numbers(tmp_path):
    scoring = Evaluator(reference(), sums="integer", **SETTINGS)
    state = jax.jit(lambda scoring, images: scoring.update(scoring.init(), images))(
        scoring, GENERATED[:24]
    )
    # Features rounded to 2^-25, of few images.
    assert fid(scoring, state) == pytest.approx(fid(evaluator(), state_of(24)), rel=1e-6)
    scoring.save(state, tmp_path / "state.npz")
    assert fid(scoring, scoring.load(tmp_path / "state.npz")) == fid(scoring, state)
    with pytest.raises(InputError, match="magnitudes up to 63"):
        scoring.compute(scoring.update_from_features(state, 100 * scoring.features(GENERATED[:1])))


def test_a_state_goes_through_flax_serialization_and_pickle():
    scoring = evaluator()
    state = state_of(24)
    restored = flax.serialization.from_bytes(scoring.init(), flax.serialization.to_bytes(state))
    for loaded in (restored, pickle.loads(pickle.dumps(jax.device_get(state)))):
        assert loaded.moments.outer.dtype == np.float64
        jax.tree.map(np.testing.assert_array_equal, loaded, state)
        assert fid(scoring, scoring.init() + loaded) == fid(scoring, state)


def lossy(state: EvaluatorState) -> EvaluatorState:
    return jax.tree.map(jnp.asarray, jax.device_get(state))


def test_a_state_that_lost_digits_is_refused_wherever_it_is_used(tmp_path):
    scoring, state = evaluator(), lossy(state_of(24))
    match = r"state: expected sums in float64, found float32: .*evaluator\.save"
    for use in (
        scoring.compute,
        scoring.stats,
        scoring.merge,
        lambda state: scoring.compute(state, over="this"),
        lambda state: scoring.save(state, tmp_path / "state.npz"),
        lambda state: scoring.update(state, GENERATED),
        lambda state: scoring.init() + state,
    ):
        with pytest.raises(InputError, match=match):
            use(state)


@pytest.mark.parametrize("template", ["numpy", "x64", "float32"])
def test_a_state_goes_through_orbax_as_it_is(tmp_path, template):
    scoring, state = evaluator(), state_of(24)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        with jax.enable_x64(template == "x64"):
            like = jax.device_get(scoring.init()) if template == "numpy" else scoring.init()
            restored = checkpointer.restore(tmp_path / "state", like)
    if template == "float32":  # JAX makes that of a restored array where x64 is not enabled
        with pytest.raises(InputError, match="state: expected sums in float64, found float32"):
            scoring.compute(restored)
        return
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert scoring.compute(restored) == scoring.compute(state)


def test_on_one_process_over_changes_nothing():
    scoring, state = evaluator(), state_of(24)
    expected = scoring.compute(state)
    assert scoring.compute(scoring.merge(state)) == expected
    for over in ("auto", "all", "this"):
        assert scoring.compute(state, over=over) == expected
    with pytest.raises(InputError, match="over: expected auto, all, this, found 'every'"):
        bring_together(state, "every")


def test_an_evaluator_says_that_it_cannot_be_pickled():
    with pytest.raises(TypeError, match=r"cannot be pickled or copied.*save its state"):
        pickle.dumps(evaluator())
