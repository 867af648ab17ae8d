"""Batches of images that are on the devices already. They have the form of those that are decoded."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, UInt8

from jaxfid.context import own_context
from jaxfid.extraction.device_source import DeviceSource
from jaxfid.extraction.devices import map_over_devices
from jaxfid.extraction.local_rows import PADDING, LocalRows, fetch_rows
from jaxfid.images.batches import CANVAS_SIDES_PX, Batch, Skipped
from jaxfid.images.checks import NUM_LOOKED_AT, warn_of_range
from jaxfid.preprocessing.protocol import Protocol


@dataclasses.dataclass(frozen=True)
class DeviceBatch(Batch):
    """A batch whose images are on the devices."""

    images: UInt8[Array, "n height width 3"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def of(self, protocol: Protocol) -> Batch:
        """Returns the batch for an input rule: the same for all, as none of them needs the host."""
        return self


class DeviceBatches:
    """The batches of a source on devices that one process is to score; on the surface `JointBatches`.

    Small turns are put together and large ones are cut, so that a batch has about `rows` on each device.

    Attributes:
      remarks: Sentences about the values of its first images, where these look wrong.
      skipped: No image is ever left out.
    """

    def __init__(
        self, source: DeviceSource, *, share: tuple[int, int], rows: int, start: int
    ) -> None:
        """Takes the source, this process's share, how many rows go on each device, and the first batch."""
        self.remarks: list[str] = []
        self.skipped: list[Skipped] = []
        self._source, self._mesh = source, source.mesh
        self._share, self._start = share, start
        self._turns_in_batch = max(1, rows // source.rows_per_turn)
        self._batches_of_turn = -(-source.rows_per_turn // rows)

    def __len__(self) -> int:
        turns = self._source.num_turns(self._share)
        batches = -(-turns // self._turns_in_batch) * self._batches_of_turn
        return batches - self._start

    def __iter__(self) -> Iterator[DeviceBatch]:
        first, place = divmod(self._start, self._batches_of_turn)
        turns = self._source.turns(self._share, first * self._turns_in_batch)
        waiting: list[LocalRows] = []
        for number, turn in enumerate(turns):
            waiting.append(turn)
            if len(waiting) == self._turns_in_batch:
                yield from self._cut(self._join(waiting), place if number == 0 else 0)
                waiting = []
        if waiting:
            # Once more the last turn, as padding: another number of rows would be compiled anew.
            missing = self._turns_in_batch - len(waiting)
            nothing = np.full(len(waiting[-1].positions), PADDING)
            waiting += [LocalRows(waiting[-1].images, nothing)] * missing
            yield self._join(waiting)

    def _join(self, turns: Sequence[LocalRows]) -> DeviceBatch:
        heights, widths = zip(*(turn.images.shape[1:3] for turn in turns), strict=True)
        canvas = _choose_canvas(max(heights), max(widths))
        by_device = (self._mesh.size, -1)
        positions = [turn.positions.reshape(by_device) for turn in turns]
        sizes = [
            np.broadcast_to(np.array(turn.images.shape[1:3], np.int32), (*where.shape, 2))
            for turn, where in zip(turns, positions, strict=True)
        ]
        indices = np.concatenate(positions, axis=1).reshape(-1)
        indices = np.where(indices < len(self._source), indices, PADDING).astype(np.int64)
        there = indices != PADDING
        with own_context():
            images = _joining(self._mesh, canvas)(tuple(turn.images for turn in turns))
        batch = DeviceBatch(
            images=images,
            sizes=np.where(there[:, None], np.concatenate(sizes, axis=1).reshape(-1, 2), 1),
            mask=there,
            indices=indices,
        )
        if 0 in indices:
            self.remarks = warn_of_range(_first_images(batch))
        return batch

    def _cut(self, batch: DeviceBatch, first: int) -> Iterator[DeviceBatch]:
        """Gives the batch in equal parts, from the one that is asked for first."""
        per_device = len(batch.mask) // self._mesh.size
        rows = -(-per_device // self._batches_of_turn)
        if rows == per_device:
            yield batch
            return
        for number in range(first, self._batches_of_turn):
            # The last part begins earlier, so that all have the same number of rows; these are hidden.
            start = min(number * rows, per_device - rows)
            hidden = number * rows - start
            yield self._part(batch, start, rows, hidden)

    def _part(self, batch: DeviceBatch, start: int, rows: int, hidden: int) -> DeviceBatch:
        def part(array: np.ndarray) -> np.ndarray:
            by_device = array.reshape(self._mesh.size, -1, *array.shape[1:])
            return by_device[:, start : start + rows].copy()

        mask, indices, sizes = map(part, (batch.mask, batch.indices, batch.sizes))
        mask[:, :hidden], indices[:, :hidden] = False, PADDING
        with own_context():
            images = _cutting(self._mesh, rows)(np.int32(start), batch.images)
        return DeviceBatch(images, sizes.reshape(-1, 2), mask.reshape(-1), indices.reshape(-1))


def _first_images(batch: DeviceBatch) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Gives a few images on the host, explicitly: all others stay where they are."""
    there = np.flatnonzero(batch.mask)
    first = there[np.argsort(batch.indices[there])][:NUM_LOOKED_AT]
    for row, image in zip(first, fetch_rows(batch.images, first.tolist()), strict=True):
        height, width = batch.sizes[row]
        yield image[:height, :width]


def _choose_canvas(height: int, width: int) -> tuple[int, int]:
    """That of a decoded batch, so that both use the same programs; above the largest, the image's own."""
    longest = max(height, width)
    if longest > CANVAS_SIDES_PX[-1]:
        return height, width
    side = next(side for side in CANVAS_SIDES_PX if side >= longest)
    return side, side


@functools.cache
def _joining(mesh: Mesh, canvas: tuple[int, int]) -> Callable[..., Array]:
    def join(turns: tuple[Array, ...]) -> Array:
        return jnp.concatenate([_on_canvas(images, canvas) for images in turns])

    return map_over_devices(join, mesh, replicated=(False,))


@functools.cache
def _cutting(mesh: Mesh, rows: int) -> Callable[..., Array]:
    def cut(start: Array, images: Array) -> Array:
        return lax.dynamic_slice_in_dim(images, start, rows)

    return map_over_devices(cut, mesh, replicated=(True, False))


def _on_canvas(images: Array, canvas: tuple[int, int]) -> Array:
    beyond = [(0, side - length) for side, length in zip(canvas, images.shape[1:3], strict=True)]
    return jnp.pad(images, [(0, 0), *beyond, (0, 0)])
