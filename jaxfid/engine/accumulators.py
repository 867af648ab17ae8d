"""What is kept of a pass: moments summed on the devices, or the features themselves on the host."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxfid.engine.devices import map_over_devices, put_rows
from jaxfid.engine.feature_pass import STEPS_IN_FLIGHT, Features
from jaxfid.images.batches import Batch
from jaxfid.stats.moments import Moments, deal, moments_of, zero_moments

ROWS_PER_UPDATE = 256
"""Rows per device in one update of the sums, each of which reads and writes the whole matrix."""


class DeviceMoments:
    """Float64 moments of one feature, kept on the devices until they are read.

    Each device has sums of its own, one per block of images (see `deal`); reading them adds the devices
    up. Batches wait until there are enough rows to be worth a pass over the matrices.
    """

    def __init__(self, feature: str, width: int, mesh: Mesh, *, num_blocks: int = 1) -> None:
        self._feature, self._mesh = feature, mesh
        self._waiting: list[tuple[Array, Array, Array]] = []
        with jax.enable_x64(True):
            zeros = zero_moments(width, lead=(mesh.size, num_blocks))
            self._sums = put_rows(zeros, mesh)
        self._update = map_over_devices(
            _add_rows, mesh, replicated=(False, False), donate=(0,)
        )

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features; all batches have the same number of rows."""
        rows = features[self._feature]
        per_device = len(rows) // self._mesh.size
        # A device's rows have consecutive indices; where the first is padding there are no others.
        first = batch.indices[::per_device].astype(np.int32)
        mask, first = put_rows((batch.mask, first), self._mesh)
        self._waiting.append((rows, mask, first))
        if len(self._waiting) * per_device >= ROWS_PER_UPDATE:
            self._flush()

    def _flush(self) -> None:
        with jax.enable_x64(True):
            self._sums = self._update(self._sums, tuple(self._waiting))
        self._waiting.clear()

    def moments(self) -> Moments:
        """Returns the sums over all devices, on the host, with the blocks as leading axis."""
        if self._waiting:
            self._pad_waiting()
            self._flush()
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, jax.jit(Moments.total_over)(self._sums))

    def _pad_waiting(self) -> None:
        """Repeats the last batch, masked out, to the number of batches the update is compiled for."""
        rows, mask, first = self._waiting[-1]
        nothing = put_rows(np.zeros(mask.shape, bool), self._mesh)
        missing = -(-ROWS_PER_UPDATE * self._mesh.size // len(rows)) - len(self._waiting)
        self._waiting += [(rows, nothing, first)] * missing


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


def _add_rows(sums: Moments, batches: tuple[tuple[Array, Array, Array], ...]) -> Moments:
    """Adds one device's rows of several batches to its sums (leading axes: device, block)."""
    num_blocks = sums.count.shape[1]
    dealt = [
        (deal(rows, first[0], num_blocks), deal(mask, first[0], num_blocks))
        for rows, mask, first in batches
    ]
    rows = jnp.concatenate([r for r, _ in dealt], axis=1)
    mask = jnp.concatenate([m for _, m in dealt], axis=1)
    return sums + jax.tree.map(lambda a: a[None], moments_of(rows, mask))
