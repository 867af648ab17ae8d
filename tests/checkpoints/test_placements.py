"""Who calls a sampler, and that its images stay on the devices."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxfid.checkpoints.find import find_checkpoints
from jaxfid.checkpoints.placements import check_placement
from jaxfid.checkpoints.sampler_calls import SamplerError
from jaxfid.checkpoints.sampling import draw_from
from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics
from tests.tiny import TINY

SIDE, NUM_IMAGES = 12, 44
REFERENCE = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8)
PLACEMENTS = ("process", "device", "global")


def mesh(*shape):
    names = ("rows", "model")[: len(shape)]
    return Mesh(np.array(jax.devices()).reshape(shape), names)


def draw(key, n):
    return jax.random.uniform(key, (n, SIDE, SIDE, 3)) * 1.2 - 0.1


def by_numpy(path):
    return lambda key, n: np.array(draw(key, n))


def on_one_device(path):
    return jax.jit(draw, static_argnums=1)


def sharded(*names, shape=(8,)):
    def make(path):
        sharding = NamedSharding(mesh(*shape), P(*names))
        return jax.jit(draw, static_argnums=1, out_shardings=sharding)

    return make


def with_a_collective(path):
    """Each device draws its rows, less a mean over all of them, as models with sharded layers have it."""

    def sample(key, n):
        rows = jax.device_put(np.arange(n), NamedSharding(mesh(8), P("rows")))
        return sample_rows(rows, jax.random.split(key, n))

    @jax.jit
    def sample_rows(rows, keys):
        images = jax.vmap(lambda k: jax.random.uniform(k, (SIDE, SIDE, 3)))(keys)
        images = jax.lax.with_sharding_constraint(images, NamedSharding(mesh(8), P("rows")))
        return images - images.mean() + 0.5

    return sample


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "step1.msgpack").write_text("1")
    return find_checkpoints([folder])[0]


def images_on_host(checkpoint, make_sample, chunk_size):
    """The plain way: each chunk to the host, rounded by the formula in the docs."""
    sample = make_sample(checkpoint.path)
    keys = [jax.random.fold_in(jax.random.key(0), c) for c in range(-(-NUM_IMAGES // chunk_size))]
    chunks = [np.asarray(sample(key, chunk_size), np.float32) for key in keys]
    pixels = np.floor(np.concatenate(chunks)[:NUM_IMAGES] * np.float32(255) + np.float32(0.5))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def score(generated, **settings):
    (scored,) = compute_metrics(REFERENCE, [generated], extractor=TINY, **settings).results
    return scored.metrics["fd_tiny"]


@contextlib.contextmanager
def images_to_host():
    """Shapes of all arrays of images that come to the host by any of JAX's ways."""
    kind = type(jnp.zeros(1))
    value, seen = kind._value, []

    def look(array):
        if array.ndim >= 3:
            seen.append(array.shape)
        return value.fget(array)

    kind._value = property(look)
    try:
        yield seen
    finally:
        kind._value = value


# Batches of one row on each device cut every chunk; those of eight put several together.
@pytest.mark.parametrize(
    ("make_sample", "chunk_size", "batch_size"),
    [
        (on_one_device, 11, 8),
        (on_one_device, 11, 64),
        (sharded("rows"), 16, 64),
        (sharded(), 11, 64),
        (sharded("rows", shape=(2, 4)), 12, 64),
        (sharded(("rows", "model"), shape=(2, 4)), 24, 8),
        (by_numpy, 20, 64),
        (with_a_collective, 32, 8),
    ],
)
def test_values_are_those_of_the_images_on_the_host_and_none_goes_there(
    checkpoint, make_sample, chunk_size, batch_size
):
    options = {"num_images": NUM_IMAGES, "chunk_size": chunk_size, "value_range": (0, 1)}
    source = draw_from(checkpoint, make_sample, **options)
    # The guard holds on GPUs and TPUs. On CPUs, whose arrays lie on the host, JAX does not look.
    with jax.transfer_guard_device_to_host("disallow"), images_to_host() as seen:
        found = score(source, batch_size=batch_size)
    if make_sample is by_numpy:  # which brings its chunks to the host itself
        seen = [shape for shape in seen if len(shape) == 3]
    # The first 16, one by one on their canvases, are looked at for the remarks.
    assert set(seen) == {(32, 32, 3)}
    assert len(seen) <= 16
    expected = score(images_on_host(checkpoint, make_sample, chunk_size), batch_size=batch_size)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.stderr == pytest.approx(expected.stderr, rel=1e-9)


@pytest.mark.parametrize(
    ("placement", "num_devices"), [("process", 1), ("device", 3), ("global", 8)]
)
def test_placement_and_devices_do_not_change_an_image(checkpoint, placement, num_devices):
    options = {"num_images": NUM_IMAGES, "chunk_size": 11, "value_range": (0, 1)}
    source = draw_from(
        checkpoint, on_one_device, placement=placement, num_devices=num_devices, **options
    )
    expected = images_on_host(checkpoint, on_one_device, 11)
    np.testing.assert_array_equal([source.read(i) for i in (0, 12, 43)], expected[[0, 12, 43]])
    seen = {}
    for turn in source.turns((0, 1), 0):
        images = np.asarray(turn.images)
        seen |= {int(p): images[row] for row, p in enumerate(turn.positions) if p >= 0}
    np.testing.assert_array_equal([seen[i] for i in range(NUM_IMAGES)], expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_processes_share_the_chunks_and_each_goes_on_where_it_was(checkpoint, placement):
    source = draw_from(
        checkpoint, on_one_device, num_images=200, chunk_size=4, value_range=(0, 1),
        placement=placement, num_devices=2,
    )  # fmt: skip
    positions = [
        np.concatenate([turn.positions for turn in source.turns((index, 3), start)])
        for index in range(3)
        for start in (0, 2)
    ]
    whole = np.concatenate(positions[::2])
    assert sorted(whole[whole >= 0]) == list(range(200))
    for all_of_it, rest in zip(positions[::2], positions[1::2], strict=True):
        assert 0 < len(rest) < len(all_of_it)
        np.testing.assert_array_equal(all_of_it[-len(rest) :], rest)


def test_sampler_is_made_and_called_once_by_a_process(checkpoint):
    made, called = [], []

    def make(path):
        made.append(path)

        def sample(key, n):
            called.append(n)
            return draw(key, n)

        return sample

    source = draw_from(checkpoint, make, num_images=44, chunk_size=11, value_range=(0, 1))
    score(source)
    assert made == [checkpoint.path]
    assert called == [11] * 4


def test_sampler_in_the_docs(checkpoint):
    text = (Path(__file__).parents[2] / "docs/pods.md").read_text()
    (code,) = [part for part in text.split("```python\n") if part.startswith("import jax\n")]
    names = {}
    exec(code.partition("```")[0], names)
    source = draw_from(
        checkpoint, names["make_sample"], num_images=16, chunk_size=16, value_range=(0, 1)
    )
    turn = next(source.turns((0, 1), 0))
    assert turn.images.addressable_shards[0].data.shape == (2, 32, 32, 3)
    assert np.asarray(turn.images).std() > 50


def test_images_of_which_a_device_holds_a_part_are_refused(checkpoint):
    make = sharded(None, "rows", shape=(4, 2))
    source = draw_from(checkpoint, make, num_images=8, chunk_size=8, value_range=(0, 1))
    with pytest.raises(SamplerError, match=r"called as sample\(key, 8\): expected whole images on"):
        score(source)


def test_placement_that_there_is_not():
    with pytest.raises(InputError, match="sampler_placement: expected one of 'process', 'device'"):
        check_placement("pod")


def test_crops_are_made_on_the_host_and_refused_where_all_processes_draw(checkpoint):
    def make(path):
        return lambda key, n: draw(key, n)[:, :, 2:]

    source = draw_from(checkpoint, make, num_images=44, chunk_size=11, value_range=(0, 1))
    expected = images_on_host(checkpoint, on_one_device, 11)[:, 1:11, 2:]
    found = score(source, crop="center", num_workers=0)
    assert found.value == pytest.approx(score(expected).value, rel=1e-9)
    source.jointly = True
    with pytest.raises(InputError, match=r"sampler_placement: .* cannot be cropped; crop them in"):
        score(source, crop="center")
