"""Images of an array, wherever it lies, as equally many rows on each of this process's devices.

Each process takes the rows that it has itself. No row goes to the host, and none to another process.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int64, Shaped

from jaxfid.context import own_context
from jaxfid.errors import InputError
from jaxfid.extraction.devices import DATA_AXIS, put_rows

PADDING = -1
"""The position of a row that holds no image."""


@dataclasses.dataclass(frozen=True)
class LocalRows:
    """Images on this process's devices, equally many on each.

    Attributes:
      images: The images, divided over a local mesh by their first axis.
      positions: The place of each row among all rows of the array; `PADDING` where there is no image.
    """

    images: Shaped[Array, "n h w c"]
    positions: Int64[np.ndarray, " n"]

    def shifted(self, start: int) -> "LocalRows":
        """Returns the same rows, counted from another start."""
        there = self.positions != PADDING
        return LocalRows(self.images, np.where(there, self.positions + start, PADDING))


@dataclasses.dataclass(frozen=True)
class _Part:
    """Rows on one device.

    Attributes:
      images: All rows of the device's shard.
      rows: Which of them are meant; another device has the others as well.
      start: The place of the first of these in the array.
    """

    images: Shaped[Array, "n h w c"]
    rows: range
    start: int

    def positions(self) -> Int64[np.ndarray, " k"]:
        return self.start + np.arange(len(self.rows))

    def cut(self) -> Shaped[Array, "k h w c"]:
        whole = len(self.rows) == len(self.images)
        return self.images if whole else self.images[self.rows.start : self.rows.stop]


@own_context()
def take_local_rows(
    images: Shaped[Array | np.ndarray, "n h w c"], mesh: Mesh, *, start: int = 0
) -> LocalRows:
    """Returns this process's rows of an array.

    Rows that lie on the devices already as they are to lie are not moved. Rows of which several devices
    have a copy are divided among these. All others go from device to device.

    Args:
      images: On the host, on any devices of this process, or sharded over those of all processes; whole
        images in each shard.
      mesh: This process's devices.
      start: The place of the first row of an array on the host, or of this process alone.

    Raises:
      InputError: A shard holds parts of images.
    """
    if isinstance(images, np.ndarray):
        return _spread(images, start + np.arange(len(images)), mesh)
    parts = [dataclasses.replace(p, start=p.start + start) for p in _find_parts(images)]
    return _as_they_lie(parts, mesh) or _spread(*_bring_together(parts), mesh)


@own_context()
def join_devices(chunks: list[LocalRows], mesh: Mesh) -> LocalRows:
    """Returns chunks that lie on one device each, in the order of the mesh; the last ones may be missing."""
    first = chunks[0].images
    sharding = NamedSharding(mesh, P(DATA_AXIS))
    devices = [*mesh.devices.flat]
    empty = np.zeros(first.shape, first.dtype)
    arrays = [chunk.images for chunk in chunks]
    arrays += [jax.device_put(empty, device) for device in devices[len(chunks) :]]
    shape = (len(devices) * len(first), *first.shape[1:])
    positions = np.full((len(devices), len(first)), PADDING)
    positions[: len(chunks)] = [chunk.positions for chunk in chunks]
    joined = jax.make_array_from_single_device_arrays(shape, sharding, arrays)
    return LocalRows(joined, positions.reshape(-1))


@own_context()
def fetch_rows(
    images: Shaped[Array, "n h w c"], rows: Iterable[int]
) -> list[Shaped[np.ndarray, "h w c"]]:
    """Returns a few rows of an array of `LocalRows` on the host; the others stay where they are."""
    shards = {shard.index[0].start or 0: shard.data for shard in images.addressable_shards}
    length = len(images) // len(shards)
    return [jax.device_get(_pick(shards[r - r % length], np.int32(r % length))) for r in rows]


@jax.jit
def _pick(images: Shaped[Array, "n h w c"], row: Array) -> Shaped[Array, "h w c"]:
    return lax.dynamic_index_in_dim(images, row, keepdims=False)


def _find_parts(images: Shaped[Array, "n h w c"]) -> list[_Part]:
    """Every row of which this process has a copy, once over all processes."""
    everywhere: dict[Any, list[jax.Device]] = {}  # pyright: ignore[reportInvalidTypeForm]
    for device, index in images.sharding.devices_indices_map(images.shape).items():
        everywhere.setdefault(_rows_of(index, images.shape), []).append(device)
    parts = []
    for shard in images.addressable_shards:
        if shard.data.shape[1:] != images.shape[1:]:
            raise InputError(
                f"expected whole images on each device, found shards of {shard.data.shape}; shard the first "
                "axis alone"
            )
        rows = _rows_of(shard.index, images.shape)
        place, copies = everywhere[rows].index(shard.device), len(everywhere[rows])
        length = rows.stop - rows.start
        mine = range(place * length // copies, (place + 1) * length // copies)
        if mine:
            parts.append(_Part(shard.data, mine, rows.start + mine.start))
    return parts


def _rows_of(index: tuple[slice, ...], shape: tuple[int, ...]) -> range:
    return range(*index[0].indices(shape[0]))


def _as_they_lie(parts: list[_Part], mesh: Mesh) -> LocalRows | None:
    """The parts where they are; None where not each device of the mesh has one of the same length."""
    by_device = {part.images.device: part for part in parts}
    devices = [*mesh.devices.flat]
    lengths = {len(part.rows) for part in parts}
    if set(by_device) != set(devices) or len(parts) != len(devices) or len(lengths) != 1:
        return None
    ordered = [by_device[device] for device in devices]
    arrays = [part.cut() for part in ordered]
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    sharding = NamedSharding(mesh, P(DATA_AXIS))
    joined = jax.make_array_from_single_device_arrays(shape, sharding, arrays)
    return LocalRows(joined, np.concatenate([part.positions() for part in ordered]))


def _bring_together(parts: list[_Part]) -> tuple[Array, Int64[np.ndarray, " n"]]:
    """All parts on the device of the first one."""
    device = parts[0].images.device
    arrays = [jax.device_put(part.cut(), device) for part in parts]
    images = arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays)
    return images, np.concatenate([part.positions() for part in parts])


def _spread(
    images: Shaped[Array | np.ndarray, "n h w c"], positions: Int64[np.ndarray, " n"], mesh: Mesh
) -> LocalRows:
    """Rows of one device, or of the host, divided over the mesh."""
    missing = -len(images) % mesh.size
    if missing:
        xp = np if isinstance(images, np.ndarray) else jnp
        images = xp.concatenate([images, xp.zeros((missing, *images.shape[1:]), images.dtype)])
    padded = np.concatenate([positions, np.full(missing, PADDING)])
    return LocalRows(put_rows(images, mesh), padded)
