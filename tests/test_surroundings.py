"""What a program sets for itself (a mesh, a device, strict rules) changes no evaluation in it."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxfid
from jaxfid.preprocessing.protocol import Protocol

WIDTH = 6


@contextlib.contextmanager
def all_at_once():
    with contextlib.ExitStack() as stack:
        for enter in CONTEXTS.values():
            stack.enter_context(enter())
        yield


def on_mesh(kind: AxisType):
    return jax.set_mesh(jax.make_mesh((2,), ("x",), axis_types=(kind,)))


CONTEXTS = {
    "explicit mesh": lambda: on_mesh(AxisType.Explicit),
    "auto mesh": lambda: on_mesh(AxisType.Auto),
    "default_device": lambda: jax.default_device(jax.devices()[3]),
    "enable_x64": lambda: jax.enable_x64(True),
    "debug_nans": lambda: jax.debug_nans(True),
    "debug_infs": lambda: jax.debug_infs(True),
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "transfer_guard": lambda: jax.transfer_guard("disallow"),
    "disable_jit": lambda: jax.disable_jit(),
}
EVERY = pytest.mark.parametrize("enter", [*CONTEXTS.values(), all_at_once], ids=[*CONTEXTS, "all"])


@functools.cache
def network() -> jaxfid.Extractor:
    protocol = Protocol("small_8", "tf1_bilinear", 128.0, 128.0, "for tests", 8)
    kernel = np.random.default_rng(2).standard_normal((8 * 8 * 3, WIDTH)).astype(np.float32)

    def apply(params, images):
        return jnp.tanh(images.reshape(len(images), -1) @ params / 10)

    return jaxfid.Extractor("small", protocol, WIDTH, kernel, apply)


def draw(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 200 + 50 * seed, (count, 16, 16, 3)).astype(np.uint8)


REAL, GENERATED = draw(40, 1), draw(30, 0)
SETTINGS = {"extractor": network()}


@functools.cache
def reference() -> jaxfid.Stats:
    return jaxfid.compute_stats(REAL, **SETTINGS)


def sets_of_images() -> dict[str, float | None]:
    (scored,) = jaxfid.compute_metrics(REAL, [GENERATED], metrics="all", **SETTINGS).results
    return {name: metric.value for name, metric in scored.metrics.items()}


def features() -> dict[str, float | None]:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 60, 8)).astype(np.float32)
    found = jaxfid.compute_metrics_from_features(a, b + 0.1, metrics="all")
    return {name: metric.value for name, metric in found.items()}


def distance() -> float:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50, 8)) * np.arange(1, 9)
    return jaxfid.frechet_distance(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))


def arrays_of_the_host() -> float:
    return score(jaxfid.Evaluator.update, GENERATED)


def arrays_of_the_program() -> float:
    floats = GENERATED.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return score(jaxfid.Evaluator.update, jax.device_put(floats))


def compiled_program() -> float:
    update = jax.jit(lambda evaluator, state, images: evaluator.update(state, images))
    return score(update, jax.device_put(GENERATED))


def score(update, images) -> float:
    evaluator = jaxfid.Evaluator(reference(), value_range=(-1, 1), **SETTINGS)
    state = update(evaluator, evaluator.init(), images)
    return evaluator.compute(state).metrics["fd_small"].value


def states_of_several_devices() -> float:
    evaluator = jaxfid.Evaluator(reference(), **SETTINGS)
    halves = [evaluator.update(evaluator.init(), jax.device_put(g)) for g in np.split(GENERATED, 2)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *map(jax.device_get, halves))
    total, added = evaluator.compute(stacked), evaluator.compute(halves[0] + halves[1])
    assert total.metrics["fd_small"] == added.metrics["fd_small"]
    return total.metrics["fd_small"].value


JOBS = (
    sets_of_images,
    features,
    distance,
    arrays_of_the_host,
    arrays_of_the_program,
    compiled_program,
    states_of_several_devices,
)


@functools.cache
def outside(job):
    return job()


ENTERS = {**CONTEXTS, "all": all_at_once}
# These have each broken something. The others, and each job under every one, take half a minute more.
OFTEN = {"explicit mesh", "rank promotion", "transfer_guard", "all"}
CASES = [
    pytest.param(
        job,
        enter,
        id=f"{job.__name__}-{name}",
        marks=() if job is sets_of_images or name in OFTEN else pytest.mark.slow,
    )
    for job in JOBS
    for name, enter in ENTERS.items()
]


@pytest.mark.parametrize(("job", "enter"), CASES)
def test_the_context_of_a_program_changes_nothing(job, enter):
    expected = outside(job)
    with enter():
        # On another mesh XLA may add float32 features up in another order.
        assert job() == pytest.approx(expected, rel=1e-6)
