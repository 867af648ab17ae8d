"""One function over many images, a few at a time: what bounds the memory of a step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

RowFunction = Callable[[Any, Any], Any]
"""From something whole (parameters) and rows (images) to rows; each row depends on its own alone."""


def map_rows(function: RowFunction, *, rows_per_device: int, num_devices: int = 1) -> RowFunction:
    """Returns the function with the same result, which takes the rows in parts, one after another.

    A part has about equally many rows as the others and strides over all of them. So where the rows lie
    on several devices, in order, every part has some of each, and none is sent to another device.

    Args:
      function: Takes and returns trees of arrays, the rows' first axis leading.
      rows_per_device: The most rows of a part on one device.
      num_devices: How many devices share the rows.
    """

    def mapped(whole: Any, rows: Any) -> Any:  # noqa: ANN401
        num_rows = len(jax.tree.leaves(rows)[0])
        num_parts = -(-num_rows // (rows_per_device * num_devices))
        if num_parts <= 1:
            return function(whole, rows)
        part_rows = -(-num_rows // (num_parts * num_devices)) * num_devices
        parts = jax.tree.map(lambda a: _cut(a, num_parts, part_rows), rows)
        outputs = lax.map(lambda part: function(whole, part), parts)
        return jax.tree.map(lambda a: _join(a)[:num_rows], outputs)

    return mapped


def _cut(rows: jax.Array, num_parts: int, part_rows: int) -> jax.Array:
    missing = num_parts * part_rows - len(rows)
    if missing:
        rows = jnp.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
    return rows.reshape(part_rows, num_parts, *rows.shape[1:]).swapaxes(0, 1)


def _join(parts: jax.Array) -> jax.Array:
    num_parts, part_rows, *rest = parts.shape
    return parts.swapaxes(0, 1).reshape(num_parts * part_rows, *rest)
