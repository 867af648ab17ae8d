"""What is kept of a pass: moments summed on the devices, or the features themselves on the host."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from jaxfid.errors import InputError
from jaxfid.extraction.context import own_context
from jaxfid.extraction.devices import has_float64, map_over_devices, put_rows
from jaxfid.extraction.feature_pass import STEPS_IN_FLIGHT, Features
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
        with own_context(x64=True):
            self._sums = put_rows(zero_moments(width, lead=self._lead), mesh)
        self._whole: Moments | None = None
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
        with own_context(x64=True):
            self._sums, self._buffer = self._absorb(self._sums, self._buffer)
        self._whole, self._filled = None, 0

    def moments(self) -> Moments:
        """Returns the sums over all devices, on the host, with the blocks as leading axis."""
        if self._filled:
            self._flush()
        if self._whole is None:  # else read for a snapshot, and nothing has come since
            with own_context(x64=True):
                self._whole = jax.tree.map(np.asarray, jax.jit(Moments.total_over)(self._sums))
        return self._whole

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` takes: the sums so far, on the host."""
        return dict(vars(self.moments()))

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Starts from sums that these or any other devices, or the host, have kept."""
        sums = zero_moments(state["total"].shape[-1], lead=self._lead)
        for name, array in state.items():
            getattr(sums, name)[0] = array
        self._whole = None
        with own_context(x64=True):
            self._sums = put_rows(sums, self._mesh)


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


class _Arrivals:
    """Rows of one feature on their way to the host, handed on a few batches after they were made."""

    def __init__(self, feature: str, keep: Callable[[np.ndarray, np.ndarray], None]) -> None:
        self._feature, self._keep = feature, keep
        self._waiting: collections.deque[tuple[Array, np.ndarray, np.ndarray]] = collections.deque()

    def add(self, features: Features, batch: Batch) -> None:
        rows = features[self._feature]
        rows.copy_to_host_async()
        self._waiting.append((rows, batch.mask, batch.indices))
        self.take(all_but=STEPS_IN_FLIGHT)

    @own_context()
    def take(self, *, all_but: int = 0) -> None:
        while len(self._waiting) > all_but:
            rows, mask, indices = self._waiting.popleft()
            self._keep(np.asarray(rows)[mask], indices[mask])


class HostMoments:
    """What `DeviceMoments` keeps, kept on the host: for devices without float64.

    The features come to the host while the devices go on, 8 kB of an image, and are summed there.
    """

    def __init__(self, feature: str, width: int, *, num_blocks: int = 1) -> None:
        self._sums = zero_moments(width, lead=(num_blocks,))
        self._arrivals = _Arrivals(feature, self._keep)
        self._rows: list[np.ndarray] = []
        self._indices: list[np.ndarray] = []

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features."""
        self._arrivals.add(features, batch)

    def _keep(self, rows: np.ndarray, indices: np.ndarray) -> None:
        self._rows.append(rows)
        self._indices.append(indices)
        if sum(map(len, self._rows)) >= ROWS_PER_UPDATE * len(self._sums.count):
            self._flush()

    def _flush(self) -> None:
        rows, indices = np.concatenate(self._rows), np.concatenate(self._indices)
        self._rows, self._indices = [], []
        for block in range(len(self._sums.count)):
            dealt = rows[indices % len(self._sums.count) == block]
            for total, new in zip(
                jax.tree.leaves(self._sums),
                jax.tree.leaves(moments_of(dealt, np.ones(len(dealt), bool))),
                strict=True,
            ):
                total[block] += new

    def moments(self) -> Moments:
        """Returns the sums, with the blocks as leading axis."""
        self._arrivals.take()
        if self._rows:
            self._flush()
        return jax.tree.map(np.copy, self._sums)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` takes: the sums so far."""
        return vars(self.moments())

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Starts from sums that the host or any devices have kept."""
        self._sums = Moments(**state)


def make_moments(
    feature: str,
    width: int,
    mesh: Mesh,
    *,
    num_blocks: int = 1,
    sums: Literal["auto", "device", "host"] = "auto",
) -> DeviceMoments | HostMoments:
    """Returns an accumulator of moments: on the devices where they have float64, else on the host.

    Args:
      feature: Name of the features.
      width: Their number.
      mesh: The devices that compute them.
      num_blocks: Into how many blocks of images the sums are divided.
      sums: "device" or "host" to choose one of them.

    Raises:
      InputError: `sums` is "device", and the devices have no float64.
    """
    if keeps_sums_on_host(sums, mesh):
        return HostMoments(feature, width, num_blocks=num_blocks)
    return DeviceMoments(feature, width, mesh, num_blocks=num_blocks)


def keeps_sums_on_host(sums: Literal["auto", "device", "host"], mesh: Mesh) -> bool:
    """Whether sums belong on the host; arguments and errors as in `make_moments`."""
    if sums == "device" and not has_float64(mesh):
        platform = mesh.devices.flat[0].platform
        raise InputError(f"sums: a {platform} has no float64 to keep them in; choose auto or host")
    return sums == "host" or not has_float64(mesh)


class FeatureStore:
    """Features of one name, kept on the host in the order of the source."""

    def __init__(self, feature: str) -> None:
        self._arrivals = _Arrivals(feature, self._keep)
        self._rows: list[np.ndarray] = []
        self._indices: list[np.ndarray] = []

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features, and fetches those of the batch before the last few."""
        self._arrivals.add(features, batch)

    def _keep(self, rows: np.ndarray, indices: np.ndarray) -> None:
        self._rows.append(rows)
        self._indices.append(indices)

    def features(self) -> Float[np.ndarray, "n d"]:
        """Returns the float32 features of every image so far."""
        self._arrivals.take()
        return np.concatenate(self._rows)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` takes: the features so far and their images' places in the source."""
        features = self.features()
        return {"features": features, "indices": np.concatenate(self._indices)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Starts from features that were kept before."""
        self._rows, self._indices = [state["features"]], [state["indices"]]
