"""Rows taken a few at a time come out as if taken at once."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxfid.extraction.devices import local_mesh
from jaxfid.extraction.microbatch import map_rows


def function(whole, rows):
    images, factors = rows
    return {"sums": whole * factors * images.sum((1, 2)), "images": images}


def make_rows(count: int):
    rng = np.random.default_rng(count)
    return rng.integers(0, 9, (count, 3, 2)), rng.integers(1, 9, count)


@pytest.mark.parametrize("num_rows", [1, 5, 8, 24, 30, 31])
@pytest.mark.parametrize(("rows_per_device", "num_devices"), [(1, 1), (4, 1), (100, 1), (3, 4)])
def test_parts_give_what_the_whole_gives(num_rows, rows_per_device, num_devices):
    seen = []

    def observed(whole, rows):
        seen.append(len(rows[1]))
        return function(whole, rows)

    mapped = map_rows(observed, rows_per_device=rows_per_device, num_devices=num_devices)
    rows = make_rows(num_rows)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(mapped)(2, rows), function(2, rows))
    assert seen[0] <= rows_per_device * num_devices


@pytest.mark.parametrize("num_rows", [8, 24, 28, 52])
def test_no_row_goes_to_another_device(num_rows):
    mapped = map_rows(function, rows_per_device=3, num_devices=4)
    rows = jax.device_put(make_rows(num_rows), NamedSharding(local_mesh(4), P("data")))
    program = jax.jit(mapped).lower(jnp.int32(2), rows).compile()
    assert not re.findall("all-|collective-", program.as_text())
    jax.tree.map(np.testing.assert_array_equal, program(jnp.int32(2), rows), function(2, rows))
