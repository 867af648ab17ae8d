"""A state comes back from its file to the bit, and is refused by an evaluator of other features."""

import functools

import jax
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.evaluator import Evaluator
from jaxfid.preprocessing.protocol import Protocol
from jaxfid.storage.npz import read_npz
from tests.tiny import TINY

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8)


@functools.cache
def evaluator(**options) -> Evaluator:
    return Evaluator(**{"extractor": TINY, **options})


@functools.cache
def state():
    return evaluator().update(evaluator().init(), IMAGES[:5])


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert found.moments.outer.dtype == np.float64


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_state_goes_on_from_its_file(tmp_path, x64, place):
    path = "memory://states/a.npz" if place == "bucket" else tmp_path / "a.npz"
    with jax.enable_x64(x64):
        evaluator().save(state(), path)
        loaded = evaluator().load(path)
    assert_same(loaded, state())
    # As `init` gives it: a compiled function takes it.
    go_on = jax.jit(lambda evaluator, state, images: evaluator.update(state, images))
    found = go_on(evaluator(), loaded, IMAGES[5:])
    assert_same(found, go_on(evaluator(), state(), IMAGES[5:]))


def test_sums_on_the_host_stay_there(tmp_path):
    host = evaluator(sums="host")
    host.save(host.update(host.init(), IMAGES), tmp_path / "a.npz")
    assert isinstance(host.load(tmp_path / "a.npz").moments.outer, np.ndarray)


def test_states_of_several_devices_are_saved_as_one(tmp_path):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *[jax.device_get(state())] * 2)
    evaluator().save(stacked, tmp_path / "a.npz")
    np.testing.assert_array_equal(evaluator().load(tmp_path / "a.npz").moments.count, 10)


def other_network():
    protocol = Protocol("other_8", "tf1_bilinear", 0.0, 255.0, "for tests", 8)
    return type(TINY)("tiny", protocol, 3, {}, TINY.apply)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"value_range": (-1, 1)}, r"value_range None against \[-1, 1\]"),
        ({"quantize": False}, "quantize True against False"),
        ({"extractor": other_network()}, "protocol tiny_8 against other_8"),
    ],
)
def test_a_state_of_other_features_is_refused_by_what_differs(tmp_path, options, difference):
    evaluator().save(state(), tmp_path / "a.npz")
    with pytest.raises(InputError, match=f"a.npz: a state of other features .*{difference}"):
        evaluator(**options).load(tmp_path / "a.npz")


def test_what_is_no_state_is_refused(tmp_path):
    evaluator().save(state(), tmp_path / "a.npz")
    arrays = dict(read_npz(tmp_path / "a.npz"))
    np.savez(tmp_path / "short.npz", **{k: a for k, a in arrays.items() if k != "outer"})
    with pytest.raises(InputError, match=r"evaluator\.save wrote, found no outer"):
        evaluator().load(tmp_path / "short.npz")
    np.savez(tmp_path / "narrow.npz", **{**arrays, "total": arrays["total"].astype(np.float32)})
    with pytest.raises(InputError, match=r"total: expected float64 .*, found float32"):
        evaluator().load(tmp_path / "narrow.npz")
