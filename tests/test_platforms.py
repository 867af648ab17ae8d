"""Both forms of an operation give the same values, and a platform compiles its own alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfid.platforms
from jaxfid.extractors.inception.checkpoint import untrained_params
from jaxfid.extractors.inception.model import extract_features, max_pool_halved
from jaxfid.extractors.precision import get_precision
from jaxfid.platforms import by_platform
from jaxfid.preprocessing.protocol import CLEAN, EDM2, LEGACY_PYTORCH, LEGACY_TENSORFLOW
from jaxfid.preprocessing.resize import batch_positions, resize


@pytest.fixture
def both_forms(monkeypatch):
    """Calls a function once in the form of CPUs and once in that of TPUs, both compiled for this CPU."""

    def call(function, *args):
        found = []
        for platforms in (), ("cpu",):
            monkeypatch.setattr(jaxfid.platforms, "PLATFORMS_OF_WIDE_TILES", platforms)
            # A new function each time: JAX would take the program of the other form for it.
            found.append(np.asarray(jax.jit(lambda *args: function(*args))(*args)))
        return found

    return call


def test_a_platform_compiles_its_own_form_alone():
    function = jax.jit(lambda x: by_platform(x, wide_tiles=jnp.sin, otherwise=jnp.cos))
    assert float(function(0.0)) == 1
    text = {
        p: function.trace(0.0).lower(lowering_platforms=(p,)).as_text()
        for p in ("cpu", "tpu", "cuda")
    }
    assert {p for p, found in text.items() if "sine" in found.replace("cosine", "")} == {"tpu"}
    assert {p for p, found in text.items() if "cosine" in found} == {"cpu", "cuda"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_maxima_are_equal(both_forms, dtype):
    x = jax.random.normal(jax.random.key(0), (2, 35, 17, 5), dtype)
    pairs, windows = both_forms(max_pool_halved, x)
    assert pairs.shape == (2, 17, 8, 5)
    np.testing.assert_array_equal(pairs, windows)


def test_maxima_have_a_gradient_in_both_forms(both_forms):
    x = jax.random.normal(jax.random.key(0), (2, 35, 17, 5))
    gradient = jax.grad(lambda x: (max_pool_halved(x) ** 2).sum())
    np.testing.assert_array_equal(*both_forms(gradient, x))


def test_the_first_layers_agree(both_forms):
    images = jax.random.uniform(jax.random.key(0), (2, 299, 299, 3), minval=-1)
    wanted = {"features": ("64",), "precision": get_precision("float32")}
    apply = functools.partial(extract_features, **wanted)
    pairs, windows = both_forms(lambda p, x: apply(p, x)["64"], untrained_params(), images)
    # float32 sums in another order: 27 products in the first layer, 288 in those behind it.
    assert np.linalg.norm(pairs - windows) <= 1e-6 * np.linalg.norm(pairs)


@pytest.mark.parametrize(
    "protocol", [LEGACY_TENSORFLOW, LEGACY_PYTORCH, CLEAN, EDM2], ids=lambda p: p.name
)
def test_the_resizes_agree(both_forms, protocol):
    sizes = [(1, 1), (256, 256), (17, 200), (255, 31)]
    images = np.random.default_rng(0).integers(0, 256, (len(sizes), 256, 256, 3), np.uint8)
    function = functools.partial(resize, protocol=protocol)
    bands, matrices = both_forms(function, images, batch_positions(protocol, sizes))
    # A few float32 roundings of 255, 1.5e-5 each; sums of a band or of a whole row in another order.
    np.testing.assert_allclose(bands, matrices, rtol=0, atol=1e-4)
