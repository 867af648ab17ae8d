"""A user's sampler: the same noise for every checkpoint, whatever the machine."""

import os
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.checkpoints.find import find_checkpoints
from jaxfid.checkpoints.sampler_calls import SamplerError
from jaxfid.checkpoints.sampling import draw_from, load_sampler
from jaxfid.errors import InputError
from jaxfid.images.batches import Batches

SIDE = 6


@pytest.fixture
def checkpoints(tmp_path):
    for step in (1, 2):
        np.save(tmp_path / f"{step}.npy", np.float32(step))
        (tmp_path / f"{step}.npy").rename(tmp_path / f"{step}.msgpack")
    return find_checkpoints([tmp_path])


def make_sample(path):
    """Noise in 0..1, brighter by the checkpoint's number in steps of 0.1."""
    level = np.load(path)
    return lambda key, n: draw_noise(key, n) * 0.5 + 0.1 * level


def draw_noise(key, n):
    """By NumPy, which needs no compiling on every device."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return rng.random((n, SIDE, SIDE, 3), np.float32)


def images_of(checkpoint, *, batch_size=7, sampler=make_sample, **options):
    options = {"num_images": 20, "chunk_size": 8, "value_range": (0, 1), "num_devices": 2} | options
    source = draw_from(checkpoint, sampler, **options)
    batches = Batches(source, batch_size=batch_size, num_workers=2, prepare=lambda image: image)
    return np.concatenate([batch.images[batch.mask][:, :SIDE, :SIDE] for batch in batches])


def test_chunk_c_is_drawn_from_the_key_with_c_folded_in(checkpoints):
    keys = [jax.random.fold_in(jax.random.key(3), c) for c in range(3)]
    sample = make_sample(checkpoints[0].path)
    expected = np.concatenate([np.asarray(sample(key, 8)) for key in keys])[:20]
    found = images_of(checkpoints[0], seed=3)
    assert not np.array_equal(expected[:8], expected[8:16])
    np.testing.assert_array_equal(found, np.floor(expected * 255 + 0.5))


@pytest.mark.parametrize("num_devices", [1, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_noise_depends_on_neither_devices_nor_batch_size(checkpoints, num_devices, batch_size):
    found = images_of(checkpoints[0], num_devices=num_devices, batch_size=batch_size)
    np.testing.assert_array_equal(found, images_of(checkpoints[0]))


def test_noise_does_not_depend_on_the_number_of_images(checkpoints):
    few = images_of(checkpoints[0], num_images=5)
    np.testing.assert_array_equal(few, images_of(checkpoints[0], num_images=33)[:5])


def test_noise_is_the_same_for_every_checkpoint(checkpoints):
    first, second = (images_of(checkpoint).astype(int) for checkpoint in checkpoints)
    # Rounding to pixels moves each by at most half a level.
    np.testing.assert_allclose(second - first, 25.5, atol=1)
    assert first.std() > 20


def test_other_seed_and_other_chunks_are_other_noise_and_tell_by_the_digest(checkpoints):
    options = [{}, {"seed": 1}, {"chunk_size": 5}]
    drawn = [images_of(checkpoints[0], **option) for option in options]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    base = {"num_images": 20, "value_range": (0, 1)}
    options.append({"sampler_identity": "another"})
    sources = [draw_from(c, make_sample, **base | o) for c in checkpoints for o in options]
    assert len({source.digest() for source in sources}) == 8


def test_sampler_is_made_once_for_each_device_and_loads_there(checkpoints):
    made = []

    def make(path):
        level = jnp.float32(np.load(path))
        made.append(level.devices().pop())
        assert path == checkpoints[0].path
        return lambda key, n: jnp.full((n, SIDE, SIDE, 3), level / 4)

    images_of(checkpoints[0], sampler=make, num_devices=3, num_images=60, placement="device")
    assert sorted(made, key=lambda device: device.id) == jax.local_devices()[:3]


def test_sampler_that_keeps_to_a_device_of_its_own_is_left_to_it(checkpoints):
    device = jax.local_devices()[5]

    def make(path):
        level = jax.device_put(np.load(path), device)
        return lambda key, n: jnp.asarray(draw_noise(key, n)) * 0.5 + 0.1 * level

    np.testing.assert_array_equal(
        images_of(checkpoints[0], sampler=make), images_of(checkpoints[0])
    )


def give(images):
    return lambda path: lambda key, n: images(n)


def test_uint8_needs_no_range_and_one_channel_is_repeated(checkpoints):
    sampler = give(lambda n: np.full((n, SIDE, SIDE, 1), 7, np.uint8))
    images = images_of(checkpoints[0], sampler=sampler, value_range=None)
    np.testing.assert_array_equal(images, np.full((20, SIDE, SIDE, 3), 7))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda n: np.zeros((n, 3, 4, 4), np.uint8), r"\(8, h, w, 3\).*found \(8, 3, 4, 4\)"),
        (lambda n: np.zeros((n - 1, 4, 4, 3), np.uint8), r"found \(7, 4, 4, 3\)"),
        (lambda n: np.zeros((4, 4, 3), np.uint8), r"found \(4, 4, 3\)"),
        (lambda n: np.zeros((n, 4, 4, 3), np.int32), "expected uint8 or floating point"),
        (lambda n: [[0.0]], "expected an array of JAX or NumPy, found list"),
        (lambda n: None, "expected an array of JAX or NumPy, found NoneType"),
    ],
)
def test_what_are_no_images_is_an_error(checkpoints, images, message):
    start = r"sampler tests\..*test_sampling:give.* at 1\.msgpack: called as sample\(key, 8\): .*"
    with pytest.raises(SamplerError, match=start + message):
        images_of(checkpoints[0], sampler=give(images), value_range=None)


def test_range_of_floating_images_has_to_be_stated(checkpoints):
    sampler = give(lambda n: np.zeros((n, 4, 4, 3), np.float32))
    with pytest.raises(InputError, match=r"value_range: .*float32.* in any range; state it"):
        images_of(checkpoints[0], sampler=sampler, value_range=None)


def fail(*_):
    raise ValueError("wrong shape\nand many lines\nof explanation")


@pytest.mark.parametrize(
    ("sampler", "call"),
    [(fail, r"sampler\(.*1\.msgpack\)"), (lambda path: fail, r"sample\(key, 8\)")],
)
def test_error_of_the_users_own_is_one_sentence(checkpoints, sampler, call):
    place = rf"test_sampling\.py:{fail.__code__.co_firstlineno + 1}"
    message = rf"^sampler .* at 1\.msgpack: called as {call}: ValueError: wrong shape \({place}\)$"
    with pytest.raises(SamplerError, match=message) as caught:
        images_of(checkpoints[0], sampler=sampler)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_sampler_that_exits_is_a_mistake_of_its_own(checkpoints):
    message = r"called as sample\(key, 8\): SystemExit: no licence"
    with pytest.raises(SamplerError, match=message):
        images_of(checkpoints[0], sampler=lambda path: lambda key, n: sys.exit("no licence"))


def test_interrupts_are_not_the_samplers_mistakes(checkpoints):
    def interrupt(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        images_of(checkpoints[0], sampler=interrupt)


def remarks_of(checkpoint, low, high, value_range):
    values = np.linspace(low, high, 8 * 4 * 4 * 3).reshape(8, 4, 4, 3)
    dtype = np.uint8 if value_range is None else np.float32
    sampler = give(lambda n: values.astype(dtype))
    options = {"num_images": 8, "chunk_size": 8, "num_devices": 1, "value_range": value_range}
    source = draw_from(checkpoint, sampler, **options)
    assert list(source.remarks) == []  # nothing was drawn yet
    for index in (0, 1):
        source.read(index)
    return list(source.remarks)


@pytest.mark.parametrize(
    ("low", "high", "value_range", "remark"),
    [
        (0, 1, (-1, 1), "hold values of 0 to 1: in -1..1 they are .*; are they in 0..1?"),
        (-1, 1, (0, 1), "hold values of -1 to 1; 50% of them lie outside 0..1 and were clipped"),
        (0, 255, (0, 1), "of 0 to 255; 99% of them lie outside 0..1"),
        (0, 1, (0, 255), "in 0..255 they are black; are they in 0..1?"),
        (-1, 1, (0, 255), "are clipped|were clipped"),
        (0, 1, None, "in 0..255 they are black"),
    ],
)
def test_values_that_do_not_look_like_the_range_are_remarked_on(
    checkpoints, low, high, value_range, remark
):
    (found,) = remarks_of(checkpoints[0], low, high, value_range)
    assert re.search(remark, found), found


@pytest.mark.parametrize(
    ("low", "high", "value_range"),
    [
        (0, 1, (0, 1)),
        (-1, 1, (-1, 1)),
        (0, 255, (0, 255)),
        (0, 255, None),
        (-1.02, 1.02, (-1, 1)),  # overshoots black and white by a little
        (0, 0, (-1, 1)),  # one grey level may be a network that was not trained
    ],
)
def test_values_that_look_like_the_range_are_not(checkpoints, low, high, value_range):
    assert remarks_of(checkpoints[0], low, high, value_range) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_name_the_checkpoint(checkpoints, value):
    def make(path):
        return lambda key, n: jnp.zeros((n, 4, 4, 3)).at[3, 1, 1, 1].set(value)

    with pytest.raises(SamplerError, match=r"1\.msgpack: .* NaN or infinity, among images 0 to 7"):
        images_of(checkpoints[0], sampler=make)


def test_range_that_there_is_not(checkpoints):
    with pytest.raises(InputError, match=r"value_range: expected \(0, 255\)"):
        draw_from(checkpoints[0], make_sample, num_images=2, value_range=(0, 2))


def test_sampler_is_found_by_name_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_sampler_module.py").write_text("def make(path):\n    return path\nvalue = 3\n")
    (tmp_path / "my_broken_module.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert load_sampler("my_sampler_module:make")(os.sep) == os.sep
    for name, message in [
        ("my_sampler_module", "expected module:function, found 'my_sampler_module'"),
        ("my_sampler_module:", "expected module:function"),
        ("my_sampler_module:value", "my_sampler_module has no function value"),
        ("no_such_module.at_all:make", "there is no module no_such_module.at_all"),
    ]:
        with pytest.raises(InputError, match=message):
            load_sampler(name)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_sampler("my_broken_module:make")
