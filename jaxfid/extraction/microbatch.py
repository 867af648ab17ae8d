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

    The parts are about equally large. Where the rows lie on several devices, as many on each, every part
    has some of each device, and no row is sent to another.

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
        shares = num_devices if num_rows % num_devices == 0 else 1
        parts = jax.tree.map(lambda a: _cut(a, shares, num_parts), rows)
        outputs = lax.map(lambda part: function(whole, part), parts)
        return jax.tree.map(lambda a: _join(a, shares, num_rows), outputs)

    return mapped


def _cut(rows: jax.Array, shares: int, num_parts: int) -> jax.Array:
    """Returns the rows as (parts, rows of a part), each share of them padded to whole parts."""
    rest = rows.shape[1:]
    of_share = len(rows) // shares
    of_part = -(-of_share // num_parts)
    missing = num_parts * of_part - of_share
    rows = rows.reshape(shares, of_share, *rest)
    if missing:
        rows = jnp.pad(rows, [(0, 0), (0, missing)] + [(0, 0)] * len(rest))
    rows = rows.reshape(shares, num_parts, of_part, *rest)
    return rows.swapaxes(0, 1).reshape(num_parts, shares * of_part, *rest)


def _join(parts: jax.Array, shares: int, num_rows: int) -> jax.Array:
    num_parts, part_rows, *rest = parts.shape
    parts = parts.reshape(num_parts, shares, part_rows // shares, *rest).swapaxes(0, 1)
    rows = parts.reshape(shares, num_parts * (part_rows // shares), *rest)
    return rows[:, : num_rows // shares].reshape(num_rows, *rest)
