"""Laws of the pass: partition, devices, batch size and padding change nothing, and nothing compiles twice."""

import itertools
import unittest.mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import (
    DeviceMoments,
    FeatureStore,
    HostMoments,
    choose_sums,
    make_moments,
)
from jaxfid.extraction.devices import local_mesh
from jaxfid.extraction.feature_pass import FeaturePass, run_pass
from jaxfid.images.batches import Batches
from jaxfid.images.sources import open_source
from tests.extraction.small_extractor import WIDTH, make_extractor


def make_images(count: int, sides=(20, 40)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(*rng.integers(*sides, 2), 3) for _ in range(count)]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def run(images, *, devices=1, batch_size=8, workers=0, sums="device"):
    mesh = local_mesh(devices)
    feature_pass = FeaturePass(make_extractor(), mesh)
    moments = make_moments("small", WIDTH, mesh, sums=sums)
    store = FeatureStore("small")
    batches = Batches(
        open_source(images),
        batch_size=batch_size,
        num_workers=workers,
        prepare=lambda image: (
            image if max(image.shape) <= 512 else np.zeros((299, 299, 3), np.float32)
        ),
    )
    done = []
    run_pass(feature_pass, batches, [moments, store], advance=done.append)
    assert sum(done) == len(images)
    return moments.moments(), store.features()


def test_moments_are_those_of_the_features():
    moments, features = run(make_images(19))
    rows = features.astype(np.float64)
    assert moments.count == 19
    # float64 sums of a few numbers near 1
    np.testing.assert_allclose(moments.total, rows.sum(0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(moments.outer, rows.T @ rows, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(moments.cov(), np.cov(rows.T), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(moments.mean(), rows.mean(0), rtol=1e-13)


@pytest.mark.parametrize(
    ("devices", "batch_size", "workers"),
    list(itertools.product((1, 2, 8), (8, 64), (0, 2))),
)
def test_devices_batch_size_and_workers_change_nothing(devices, batch_size, workers):
    images = make_images(21)
    expected, features = run(images)
    moments, again = run(images, devices=devices, batch_size=batch_size, workers=workers)
    np.testing.assert_allclose(again, features, rtol=0, atol=1e-6)  # float32 of values below 1
    np.testing.assert_allclose(moments.outer, expected.outer, rtol=1e-6, atol=1e-6)
    assert moments.count == expected.count


def test_some_rows_are_kept_by_their_place_in_the_source():
    images = make_images(21)
    _, features = run(images)
    wanted = np.array([0, 3, 4, 11, 20])
    mesh = local_mesh(2)
    store = FeatureStore("small", wanted)
    batches = Batches(open_source(images), batch_size=8, num_workers=0, prepare=lambda image: image)
    run_pass(FeaturePass(make_extractor(), mesh), batches, [store])
    np.testing.assert_array_equal(store.state()["indices"], wanted)
    np.testing.assert_allclose(store.features(), features[wanted], rtol=0, atol=1e-6)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_sums_on_the_host_are_those_on_the_devices(devices, monkeypatch):
    # So few rows that some are summed before all have come.
    monkeypatch.setattr("jaxfid.extraction.accumulators.ROWS_PER_UPDATE", 3)
    images = make_images(45)
    expected, _ = run(images, devices=devices)
    moments, _ = run(images, devices=devices, sums="host")
    np.testing.assert_array_equal(moments.count, expected.count)
    # The same features; two orders of adding 45 products below 1 in float64.
    np.testing.assert_allclose(moments.total, expected.total, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.outer, expected.outer, rtol=1e-12, atol=1e-12)


def test_sums_in_whole_numbers_are_equal_on_any_devices(monkeypatch):
    monkeypatch.setattr("jaxfid.extraction.accumulators.ROWS_PER_UPDATE", 3)
    images = make_images(45)
    expected, features = run(images, batch_size=16, sums="integer")
    moments, same = run(images, devices=8, batch_size=16, sums="integer")
    np.testing.assert_array_equal(same, features)
    jax.tree.map(np.testing.assert_array_equal, moments, expected)
    # 45 values below 1, each rounded to a step of 2^-25
    np.testing.assert_allclose(moments.total, features.sum(0), rtol=0, atol=45 * 2**-25)


def test_a_feature_beyond_whole_numbers_ends_the_pass_early(monkeypatch):
    monkeypatch.setattr("jaxfid.extraction.accumulators.ROWS_PER_UPDATE", 1)
    mesh = local_mesh(1)
    moments = make_moments("small", 2, mesh, sums="integer")
    (batch,) = Batches(
        open_source(make_images(4)), batch_size=4, num_workers=0, prepare=lambda image: image
    )
    moments.add({"small": jnp.full((4, 2), 1e3)}, batch)
    with pytest.raises(InputError, match="magnitudes up to 63, found 8 values"):
        moments.add({"small": jnp.zeros((4, 2))}, batch)


def test_sums_on_the_host_may_be_read_and_go_on():
    (batch,) = Batches(
        open_source(make_images(3)), batch_size=4, num_workers=0, prepare=lambda image: image
    )
    rows = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [jnp.nan, jnp.inf]], jnp.float32)
    moments = HostMoments("small", 2)
    moments.add({"small": rows}, batch)
    first = moments.moments()
    moments.add({"small": rows}, batch)
    np.testing.assert_array_equal(first.total, [9.0, 12.0])
    np.testing.assert_array_equal(moments.moments().total, [18.0, 24.0])


def test_where_sums_are_kept():
    mesh = local_mesh(2)
    assert isinstance(make_moments("small", 2, mesh), DeviceMoments)
    assert isinstance(make_moments("small", 2, mesh, sums="host"), HostMoments)
    tpu = unittest.mock.Mock(spec=Mesh, devices=np.array([unittest.mock.Mock(platform="tpu")]))
    assert choose_sums("auto", tpu) == "integer"
    with pytest.raises(InputError, match=r"sums: a tpu has no float64 .* auto, integer or host"):
        choose_sums("device", tpu)


def test_a_ragged_last_batch_and_mixed_sizes_compile_nothing_more():
    traces: list = []
    extractor = make_extractor(traces)
    mesh = local_mesh(2)
    feature_pass = FeaturePass(extractor, mesh)
    images = make_images(21, sides=(5, 100))
    for count in (8, 21):
        moments = DeviceMoments("small", WIDTH, mesh)
        batches = Batches(
            open_source(images[:count]), batch_size=8, num_workers=0, prepare=lambda image: image
        )
        run_pass(feature_pass, batches, [moments])
        assert moments.moments().count == count
    assert len(traces) == 1


def test_what_padding_holds_counts_for_nothing():
    moments = DeviceMoments("small", 2, local_mesh(2))
    (batch,) = Batches(
        open_source(make_images(3)), batch_size=4, num_workers=0, prepare=lambda image: image
    )
    rows = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [jnp.nan, jnp.inf]], jnp.float32)
    sharding = jax.sharding.NamedSharding(local_mesh(2), jax.sharding.PartitionSpec("data"))
    moments.add({"small": jax.device_put(rows, sharding)}, batch)
    result = moments.moments()
    assert result.count == 3
    np.testing.assert_array_equal(result.total, [9.0, 12.0])


def test_too_many_devices_are_refused():
    with pytest.raises(InputError, match="devices: expected 1 to 8 or all, found 9"):
        local_mesh(9)
