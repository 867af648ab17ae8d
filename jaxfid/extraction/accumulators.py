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
from jaxtyping import Array, Bool, Float, Int

from jaxfid.context import own_context
from jaxfid.distributed.group import ProcessGroup
from jaxfid.errors import InputError
from jaxfid.extraction.devices import has_float64, map_over_devices, put_rows
from jaxfid.extraction.feature_pass import STEPS_IN_FLIGHT, Features
from jaxfid.images.batches import Batch
from jaxfid.stats.array_tree import array_tree
from jaxfid.stats.integer_moments import (
    IntegerMoments,
    integer_moments_of,
    zero_integer_moments,
)
from jaxfid.stats.moments import Moments, moments_of, zero_moments

Sums = Literal["auto", "device", "integer", "host"]
"""How sums are kept: in float64 on the devices, in whole numbers on the devices, or on the host."""

ROWS_PER_UPDATE = 256
"""Rows per device in one update of the sums, each of which reads and writes the whole matrix."""


@array_tree
@dataclasses.dataclass(frozen=True)
class _Buffer:
    """Rows that wait to be summed; places where `mask` is False hold none."""

    rows: Float[Array | np.ndarray, "devices places d"]
    mask: Bool[Array | np.ndarray, "devices places"]


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """How devices sum.

    Attributes:
      x64: Whether float64 is enabled for it.
      zeros: From a width and leading axes to the sums of nothing.
      sums_of: From rows and their mask to sums.
      read: From sums on the host to float64 ones.
      check: Raises where sums could not take a feature; waits for them.
    """

    x64: bool
    zeros: Callable[..., Any]
    sums_of: Callable[..., Any]
    read: Callable[[Any], Moments]
    check: Callable[[Any], None]


FLOAT64 = Arithmetic(True, zero_moments, moments_of, lambda sums: sums, lambda sums: None)
INTEGER = Arithmetic(
    False,
    zero_integer_moments,
    integer_moments_of,
    IntegerMoments.to_moments,
    IntegerMoments.require_within,
)


class DeviceMoments:
    """Moments of one feature, kept on the devices until they are read.

    Each device has sums of its own, which are added up when they are read: no step waits for another device.
    Rows wait in a buffer until there are enough to be worth a pass over the matrices.
    """

    def __init__(
        self, feature: str, width: int, mesh: Mesh, arithmetic: Arithmetic = FLOAT64
    ) -> None:
        self._feature, self._mesh, self._arithmetic = feature, mesh, arithmetic
        with own_context(x64=arithmetic.x64):
            self._sums = put_rows(arithmetic.zeros(width, lead=(mesh.size,)), mesh)
        self._before: Moments = zero_moments(width)
        self._total: Moments | None = None
        self._buffer: _Buffer | None = None
        self._filled, self._flushes = 0, 0
        self._fill, self._absorb = _compiled(mesh, arithmetic)

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features; all batches have the same number of rows."""
        rows = features[self._feature]
        per_device = len(rows) // self._mesh.size
        buffer = self._buffer or self._make_buffer(per_device, rows.shape[1])
        mask = put_rows(batch.mask, self._mesh)
        self._buffer = self._fill(buffer, rows, mask, np.int32(self._filled))
        self._filled += per_device
        if self._filled == buffer.mask.shape[1]:
            self._flush()

    def _make_buffer(self, per_device: int, width: int) -> _Buffer:
        batches = -(-ROWS_PER_UPDATE // per_device)
        shape = (self._mesh.size, batches * per_device)
        buffer = _Buffer(np.zeros((*shape, width), np.float32), np.zeros(shape, bool))
        return put_rows(buffer, self._mesh)

    def _flush(self) -> None:
        with own_context(x64=self._arithmetic.x64):
            # Early, not after the last image; seldom, because it waits for the devices.
            if self._flushes & (self._flushes - 1) == 0:
                self._arithmetic.check(self._sums)
            self._sums, self._buffer = self._absorb(self._sums, self._buffer)
        self._flushes += 1
        self._total, self._filled = None, 0

    def moments(self) -> Moments:
        """Returns the sums over all devices, on the host.

        Raises:
          InputError: Features were beyond what the sums can take.
        """
        if self._filled:
            self._flush()
        if self._total is None:  # else it was read for a snapshot, and nothing has come since
            self._total = self._before + self._arithmetic.read(self._fetch())
        return self._total

    def _fetch(self) -> Any:  # noqa: ANN401
        with own_context(x64=self._arithmetic.x64):
            return jax.tree.map(np.asarray, _total_over_devices(self._sums))

    def total(self, group: ProcessGroup) -> Moments:
        """Returns the sums of all processes; waits for all.

        In whole numbers they are the same to the bit for any number of processes and devices.
        """
        own = self.moments()
        if group.count == 1 or self._arithmetic is FLOAT64:
            return group.total(own)
        sums = self._fetch().total_over_processes(group.total)
        return group.total(self._before) + self._arithmetic.read(sums)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` takes: the sums so far, on the host."""
        return dict(vars(self.moments()))

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Starts from sums that these or any other devices, or the host, have kept."""
        self._before, self._total = Moments(**state), None


@jax.jit
def _total_over_devices(sums: Any) -> Any:  # noqa: ANN401
    return sums.total_over(0)


@functools.cache
def _compiled(mesh: Mesh, arithmetic: Arithmetic) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`_fill` and `_absorb` over the devices, the same for every set so that they compile once."""
    fill = map_over_devices(_fill, mesh, replicated=(False,) * 3 + (True,), donate=(0,))
    absorb = functools.partial(_absorb, arithmetic)
    return fill, map_over_devices(absorb, mesh, replicated=(False, False), donate=(0, 1))


def _fill(buffer: _Buffer, rows: Array, mask: Array, place: Array) -> _Buffer:
    """Puts one device's rows of a batch into its buffer, from `place` on."""
    new = _Buffer(rows[None], mask[None])
    return jax.tree.map(
        lambda old, part: lax.dynamic_update_slice_in_dim(old, part, place, axis=1), buffer, new
    )


def _absorb(arithmetic: Arithmetic, sums: Any, buffer: _Buffer) -> tuple[Any, _Buffer]:  # noqa: ANN401
    """Adds one device's buffer to its sums, and empties it."""
    emptied = dataclasses.replace(buffer, mask=jnp.zeros_like(buffer.mask))
    return sums + arithmetic.sums_of(buffer.rows, buffer.mask), emptied


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
    """What `DeviceMoments` keeps, kept on the host: for features of any magnitude on any device.

    The features come to the host while the devices go on, 8 kB of an image, and are summed there.
    """

    def __init__(self, feature: str, width: int) -> None:
        self._sums = zero_moments(width)
        self._arrivals = _Arrivals(feature, self._keep)
        self._rows: list[np.ndarray] = []

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features."""
        self._arrivals.add(features, batch)

    def _keep(self, rows: np.ndarray, indices: np.ndarray) -> None:
        self._rows.append(rows)
        if sum(map(len, self._rows)) >= ROWS_PER_UPDATE:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = np.concatenate(self._rows), []
        self._sums += moments_of(rows, np.ones(len(rows), bool))

    def moments(self) -> Moments:
        """Returns the sums."""
        self._arrivals.take()
        if self._rows:
            self._flush()
        return self._sums

    def total(self, group: ProcessGroup) -> Moments:
        """Returns the sums of all processes; waits for all."""
        return group.total(self.moments())

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` takes: the sums so far."""
        return dict(vars(self.moments()))

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Starts from sums that the host or any devices have kept."""
        self._sums = Moments(**state)


def make_moments(
    feature: str, width: int, mesh: Mesh, *, sums: Sums = "auto"
) -> DeviceMoments | HostMoments:
    """Returns an accumulator of moments on the devices: in float64 where they have it, else in whole numbers.

    Args:
      feature: Name of the features.
      width: Their number.
      mesh: The devices that compute them.
      sums: "device", "integer" or "host" to choose one of them.

    Raises:
      InputError: `sums` is "device", and the devices have no float64.
    """
    match choose_sums(sums, mesh):
        case "host":
            return HostMoments(feature, width)
        case "integer":
            return DeviceMoments(feature, width, mesh, INTEGER)
    return DeviceMoments(feature, width, mesh)


def choose_sums(sums: Sums, mesh: Mesh) -> Literal["device", "integer", "host"]:
    """Returns how sums are kept; arguments and errors as in `make_moments`."""
    if sums == "device" and not has_float64(mesh):
        platform = mesh.devices.flat[0].platform
        raise InputError(
            f"sums: a {platform} has no float64 to keep them in; choose auto, integer or host"
        )
    if sums == "auto":
        return "device" if has_float64(mesh) else "integer"
    return sums


class FeatureStore:
    """Features of one name, kept on the host in the order of the source.

    Args:
      feature: Name of the features.
      wanted: Positions in the source of the images whose features are kept, sorted; None keeps all.
    """

    def __init__(self, feature: str, wanted: Int[np.ndarray, " n"] | None = None) -> None:
        self._arrivals = _Arrivals(feature, self._keep)
        self._wanted = wanted
        self._rows: list[np.ndarray] = []
        self._indices: list[np.ndarray] = []

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features, and fetches those of the batch before the last few."""
        if self._wanted is None or np.isin(batch.indices, self._wanted).any():
            self._arrivals.add(features, batch)

    def _keep(self, rows: np.ndarray, indices: np.ndarray) -> None:
        if self._wanted is not None:
            kept = np.isin(indices, self._wanted)
            rows, indices = rows[kept], indices[kept]
        self._rows.append(rows)
        self._indices.append(indices)

    def features(self) -> Float[np.ndarray, "n d"]:
        """Returns the float32 features of every wanted image so far."""
        return self.state()["features"]

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` takes: the features so far and their images' places in the source."""
        self._arrivals.take()
        return {
            "features": np.concatenate(self._rows) if self._rows else np.zeros((0, 0), np.float32),
            "indices": np.concatenate(self._indices) if self._indices else np.zeros(0, np.int64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Starts from features that were kept before."""
        self._rows, self._indices = [state["features"]], [state["indices"]]
