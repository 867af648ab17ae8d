"""One function over many images, a few at a time. This bounds the memory of a step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree, Shaped

RowFunction = Callable[[PyTree, PyTree], PyTree]
"""From something whole (parameters) and rows (images) to rows. Each row depends on its own input alone."""


def map_rows(function: RowFunction, *, rows_per_device: int, num_devices: int = 1) -> RowFunction:
    """Returns a function with the same result, which takes the rows in parts, one after another.

    The parts are about equally large. Where equally many rows lie on each of several devices, every part
    takes some from each device, and no row is sent to another device.

    Args:
      function: Takes and returns trees of arrays whose first axis is the rows.
      rows_per_device: The most rows of a part on one device.
      num_devices: How many devices the rows are divided over.
    """

    def mapped(whole: PyTree, rows: PyTree) -> PyTree:
        num_rows = len(jax.tree.leaves(rows)[0])
        num_parts = -(-num_rows // (rows_per_device * num_devices))
        if num_parts <= 1:
            return function(whole, rows)
        # Rows that do not divide evenly are not laid out so: they are taken as those of one device.
        devices = num_devices if num_rows % num_devices == 0 else 1
        parts = jax.tree.map(lambda a: _cut(a, devices, num_parts), rows)
        outputs = lax.map(lambda part: function(whole, part), parts)
        return jax.tree.map(lambda a: _join(a, devices, num_rows), outputs)

    return mapped


def _cut(
    rows: Shaped[Array | np.ndarray, "n ..."], num_devices: int, num_parts: int
) -> Shaped[Array | np.ndarray, "parts m ..."]:
    """Returns the rows as (parts, rows of a part), those of each device padded to whole parts."""
    row = rows.shape[1:]
    per_device = len(rows) // num_devices
    per_part = -(-per_device // num_parts)
    missing = num_parts * per_part - per_device
    rows = rows.reshape(num_devices, per_device, *row)
    if missing:
        rows = jnp.pad(rows, [(0, 0), (0, missing)] + [(0, 0)] * len(row))
    rows = rows.reshape(num_devices, num_parts, per_part, *row)
    return rows.swapaxes(0, 1).reshape(num_parts, num_devices * per_part, *row)


def _join(
    parts: Shaped[Array, "parts m ..."], num_devices: int, num_rows: int
) -> Shaped[Array, "n ..."]:
    """Returns the rows as they were before `_cut`, without the padding."""
    num_parts, part_rows, *row = parts.shape
    per_part = part_rows // num_devices
    parts = parts.reshape(num_parts, num_devices, per_part, *row).swapaxes(0, 1)
    rows = parts.reshape(num_devices, num_parts * per_part, *row)
    return rows[:, : num_rows // num_devices].reshape(num_rows, *row)
