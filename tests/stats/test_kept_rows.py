"""Which rows are kept depends on the rows alone: not on order, parts, padding, devices or x64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jaxfid.stats.kept_rows import MAX_KEPT_ROWS, KeptRows, kept_indices

WIDTH, LIMIT, PLACES = 3, 8, 64


def make_rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def everyone(rows):
    return np.ones(len(rows), bool)


def sample_of(rows, limit=LIMIT):
    """The sample of the rows, always in one padded batch, so that all tests share one program."""
    batch = np.full((PLACES, WIDTH), np.nan, np.float32)
    batch[: len(rows)] = rows
    return KeptRows.empty(WIDTH, limit=limit).update(batch, np.arange(PLACES) < len(rows))


def assert_same(found, expected):
    # Rows are kept as they came, so that two samples are equal to the last bit.
    np.testing.assert_array_equal(found.keys, expected.keys)
    np.testing.assert_array_equal(found.rows, expected.rows)


def as_set(rows):
    return {tuple(row) for row in np.asarray(rows).tolist()}


@pytest.mark.parametrize("count", [1, 4999, 5000])
def test_small_sets_are_kept_whole(count):
    np.testing.assert_array_equal(kept_indices(count), np.arange(count))


@pytest.mark.parametrize("count", [5001, 7777, 10_000, 50_000, 1_281_167])
def test_of_large_sets_one_image_is_kept_in_each_of_as_many_stretches(count):
    indices = kept_indices(count)
    edges = np.arange(MAX_KEPT_ROWS + 1) * count // MAX_KEPT_ROWS
    assert len(indices) == MAX_KEPT_ROWS
    assert ((edges[:-1] <= indices) & (indices < edges[1:])).all()


@pytest.mark.parametrize("labels", [np.arange(50_000) % 10, np.arange(50_000) // 5000])
def test_kept_indices_follow_no_order_of_classes(labels):
    # A plain stride of 10 would keep one class alone of ten that take turns. Of 5,000 rows a class has
    # 500, and by chance 21 more or less; five times that is never seen.
    counts = np.bincount(labels[kept_indices(50_000)], minlength=10)
    assert abs(counts - 500).max() < 105


def test_a_limit_acts():
    assert len(kept_indices(100, limit=7)) == 7


@pytest.mark.parametrize("count", [0, 5, LIMIT])
def test_rows_are_all_kept_while_there_is_room(count):
    rows = make_rows(count)
    kept, _ = sample_of(rows).kept()
    assert as_set(kept) == as_set(rows)
    assert len(kept) == count


def test_rows_that_are_there_twice_are_kept_twice():
    rows = make_rows(3)[[0, 1, 1, 2]]
    assert len(sample_of(rows).kept()[0]) == 4


@pytest.mark.parametrize("limit", [LIMIT, 100])
def test_parts_merge_to_the_same_rows_in_any_order(limit):
    rows = make_rows(60)
    whole = sample_of(rows, limit)
    a, b, c = (sample_of(part, limit) for part in np.split(rows, [11, 35]))
    for merged in ((a + b) + c, a + (b + c), (c + a) + b, (b + c) + a):
        assert_same(merged, whole)
    assert_same(sample_of(rows[::-1], limit), whole)


def test_the_sample_is_a_random_one():
    # Each of 40 rows is kept in a fifth of 1,000 sets, off by 0.013 by chance; five times that is
    # never seen. Rows that differ in one bit, or are the same but for their order, count as different.
    sets = make_rows(40 * 1000).reshape(1000, 40, WIDTH)
    sets[:, 1] = np.nextafter(sets[:, 0], np.float32(np.inf))
    sets[:, 2] = sets[:, 0, ::-1]
    empty = KeptRows.empty(WIDTH, limit=LIMIT)
    samples = jax.jit(jax.vmap(lambda rows: empty.update(rows, jnp.ones(40, bool))))(sets)
    kept = (sets[:, :, None] == np.asarray(samples.rows)[:, None]).all(-1).any(-1)
    np.testing.assert_allclose(kept.mean(0), LIMIT / 40, atol=0.063)
    assert abs(np.corrcoef(kept.T) - np.eye(40)).max() < 0.2  # by chance 0.03 each
    values = np.asarray(samples.rows).reshape(-1, WIDTH)
    np.testing.assert_allclose(values.mean(0), 0, atol=0.06)  # 8,000 rows tell a mean to 0.011
    np.testing.assert_allclose(values.std(0), 1, atol=0.04)


def test_padding_and_rows_that_are_not_finite_are_never_kept():
    rows = make_rows(6)
    rows[1, 0], rows[4, 2] = np.nan, np.inf
    mask = np.array([True, True, True, False, True, True])
    sample = KeptRows.empty(WIDTH, limit=LIMIT).update(rows, mask)
    assert (np.asarray(sample.keys)[3:] == 0xFFFFFFFF).all()
    assert as_set(sample.kept()[0]) == as_set(rows[[0, 2, 5]])
    # Nor do they lie in an empty place, from which a NaN would spread.
    np.testing.assert_array_equal(np.asarray(sample.rows)[3:], 0)


def test_rows_come_back_in_the_order_in_which_they_came():
    rows, mask = make_rows(20), np.arange(20) % 4 != 1
    state = KeptRows.empty(WIDTH, limit=30)
    for first, stop in ((0, 7), (7, 20)):
        seen = int(mask[:first].sum())
        state = state.update(rows[first:stop], mask[first:stop], first=seen)
    kept, places = state.kept()
    np.testing.assert_array_equal(kept, rows[mask])
    np.testing.assert_array_equal(places, np.arange(mask.sum()))


def test_parts_merged_in_any_order_come_back_in_one_order():
    a, b = (sample_of(part, 100) for part in np.split(make_rows(60), [25]))
    jax.tree.map(np.testing.assert_array_equal, (a + b).kept(), (b + a).kept())


def test_leading_axes_merge():
    rows = make_rows(60)
    parts = [sample_of(part) for part in np.split(rows, 6)]
    stacked = jax.tree.map(
        lambda *leaves: jnp.stack(leaves).reshape(2, 3, *leaves[0].shape), *parts
    )
    for axes in ((0, 0), (1, 0)):
        assert_same(functools.reduce(KeptRows.total_over, axes, stacked), sample_of(rows))


def test_it_is_the_same_with_x64_and_under_strict_rules():
    rows = make_rows(30)
    expected = sample_of(rows)
    with jax.enable_x64(True):
        found = sample_of(rows.astype(np.float64)) + sample_of(rows[:0])
    assert_same(found, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {
        np.dtype(np.float32),
        np.dtype(np.uint32),
    }
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        assert_same(sample_of(rows), expected)


def test_a_saved_state_goes_on():
    rows = make_rows(30)
    saved = jax.tree.map(np.asarray, sample_of(rows[:20]))
    assert_same(sample_of(rows[20:]) + saved, sample_of(rows))


def test_batches_of_any_size_give_the_same_rows():
    rows = make_rows(12)
    state = KeptRows.empty(WIDTH, limit=LIMIT)
    for row in rows:
        state = state.update(row[None], everyone(row[None]))
    assert_same(state, sample_of(rows))


def test_it_works_in_jit_donated_and_in_scan():
    rows = make_rows(60).reshape(6, 10, WIDTH)
    expected = sample_of(rows.reshape(-1, WIDTH))
    update = jax.jit(lambda state, x: state.update(x, jnp.ones(10, bool)), donate_argnums=0)
    state = KeptRows.empty(WIDTH, limit=LIMIT)
    for batch in rows:
        state = update(state, batch)
    assert_same(state, expected)
    scanned, _ = jax.lax.scan(
        lambda state, x: (state.update(x, jnp.ones(10, bool)), None),
        KeptRows.empty(WIDTH, limit=LIMIT),
        rows,
    )
    assert_same(scanned, expected)


def test_it_works_in_shard_map_and_pmap():
    rows = make_rows(64)
    expected = sample_of(rows)
    mesh = Mesh(np.array(jax.devices()[:4]), ("devices",))

    def gather(x):
        state = KeptRows.empty(WIDTH, limit=LIMIT).update(x, jnp.ones(len(x), bool))
        return jax.lax.all_gather(state, "devices").total_over(0)

    def keep(x):
        state = KeptRows.empty(WIDTH, limit=LIMIT).update(x, jnp.ones(len(x), bool))
        return jax.tree.map(lambda leaf: leaf[None], state)

    spec = PartitionSpec("devices")
    apart = jax.jit(jax.shard_map(keep, mesh=mesh, in_specs=spec, out_specs=spec))(rows)
    assert_same(apart.total_over(0), expected)
    together = jax.shard_map(
        gather, mesh=mesh, in_specs=spec, out_specs=PartitionSpec(), check_vma=False
    )
    assert_same(jax.jit(together)(rows), expected)
    mapped = jax.pmap(gather, axis_name="devices")(rows.reshape(8, 8, WIDTH))
    assert_same(jax.tree.map(lambda leaf: leaf[0], mapped), expected)
