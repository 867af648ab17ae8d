"""What is kept of a pass: moments summed on the devices, or the features themselves on the host."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from jaxfid.engine.devices import map_over_devices, put_rows
from jaxfid.engine.feature_pass import STEPS_IN_FLIGHT, Features
from jaxfid.images.batches import Batch
from jaxfid.stats.moments import Moments, deal, moments_of, zero_moments

ROWS_PER_UPDATE = 256
"""Rows per device in one update of the sums, each of which reads and writes the whole matrix."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Buffer:
    """Rows that wait to be summed, dealt to blocks; places where `mask` is False hold none."""

    rows: Float[Array, "devices blocks places d"]
    mask: Bool[Array, "devices blocks places"]


class DeviceMoments:
    """Float64 moments of one feature, kept on the devices until they are read.

    Each device has sums of its own, one per block of images (see `deal`); reading them adds the
    devices up. Rows wait in a buffer until there are enough to be worth a pass over the matrices.
    """

    def __init__(self, feature: str, width: int, mesh: Mesh, *, num_blocks: int = 1) -> None:
        self._feature, self._mesh = feature, mesh
        self._lead = (mesh.size, num_blocks)
        with jax.enable_x64(True):
            self._sums = put_rows(zero_moments(width, lead=self._lead), mesh)
        self._buffer: _Buffer | None = None
        self._filled = 0
        self._fill, self._absorb = _compiled(mesh)

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features; all batches have the same number of rows."""
        rows = features[self._feature]
        per_device = len(rows) // self._mesh.size
        per_block = -(-per_device // self._lead[1])
        if self._buffer is None:
            self._buffer = self._make_buffer(per_block, rows.shape[1])
        # A device's rows have consecutive indices; where the first is padding there are no others.
        first = batch.indices[::per_device].astype(np.int32)
        mask, first = put_rows((batch.mask, first), self._mesh)
        self._buffer = self._fill(self._buffer, rows, mask, first, np.int32(self._filled))
        self._filled += per_block
        if self._filled == self._buffer.mask.shape[2]:
            self._flush()

    def _make_buffer(self, per_block: int, width: int) -> _Buffer:
        batches = -(-ROWS_PER_UPDATE // (per_block * self._lead[1]))
        shape = (*self._lead, batches * per_block)
        buffer = _Buffer(np.zeros((*shape, width), np.float32), np.zeros(shape, bool))
        return put_rows(buffer, self._mesh)

    def _flush(self) -> None:
        with jax.enable_x64(True):
            self._sums, self._buffer = self._absorb(self._sums, self._buffer)
        self._filled = 0

    def moments(self) -> Moments:
        """Returns the sums over all devices, on the host, with the blocks as leading axis."""
        if self._filled:
            self._flush()
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, jax.jit(Moments.total_over)(self._sums))


@functools.cache
def _compiled(mesh: Mesh) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`_fill` and `_absorb` over the devices, the same for every set so that they compile once."""
    fill = map_over_devices(_fill, mesh, replicated=(False,) * 4 + (True,), donate=(0,))
    return fill, map_over_devices(_absorb, mesh, replicated=(False, False), donate=(0, 1))


def _fill(buffer: _Buffer, rows: Array, mask: Array, first: Array, place: Array) -> _Buffer:
    """Deals one device's rows of a batch into its buffer, from `place` on."""
    num_blocks = buffer.mask.shape[1]
    dealt = _Buffer(deal(rows, first[0], num_blocks)[None], deal(mask, first[0], num_blocks)[None])
    return jax.tree.map(
        lambda old, new: lax.dynamic_update_slice_in_dim(old, new, place, axis=2), buffer, dealt
    )


def _absorb(sums: Moments, buffer: _Buffer) -> tuple[Moments, _Buffer]:
    """Adds one device's buffer to its sums, and empties it."""
    emptied = dataclasses.replace(buffer, mask=jnp.zeros_like(buffer.mask))
    return sums + moments_of(buffer.rows, buffer.mask), emptied


class FeatureStore:
    """Features of one name, kept on the host in the order of the source."""

    def __init__(self, feature: str) -> None:
        self._feature = feature
        self._waiting: list[tuple[Array, np.ndarray]] = []
        self._kept: list[np.ndarray] = []

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features, and fetches those of the batch before the last few."""
        rows = features[self._feature]
        rows.copy_to_host_async()
        self._waiting.append((rows, batch.mask))
        if len(self._waiting) > STEPS_IN_FLIGHT:
            self._fetch_oldest()

    def _fetch_oldest(self) -> None:
        rows, mask = self._waiting.pop(0)
        self._kept.append(np.asarray(rows)[mask])

    def features(self) -> Float[np.ndarray, "n d"]:
        """Returns the float32 features of every image so far."""
        while self._waiting:
            self._fetch_oldest()
        return np.concatenate(self._kept)
