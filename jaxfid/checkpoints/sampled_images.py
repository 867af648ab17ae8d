"""The images that a sampler draws, as a source: on the devices for a pass, single ones on the host."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxfid.checkpoints.joint_draws import pick_together, wait_together
from jaxfid.checkpoints.placements import Place
from jaxfid.extraction.device_source import DeviceSource
from jaxfid.extraction.devices import local_mesh
from jaxfid.extraction.local_rows import LocalRows, fetch_rows, join_devices
from jaxfid.images.drawn import DrawnSource


class SampledImages(DrawnSource, DeviceSource):
    """A sampler's chunks. Several places of a process draw one each in a turn; a single one draws all."""

    def __init__(
        self,
        draw: Callable[[int], LocalRows],
        places: Sequence[Place],
        *,
        num_devices: int | None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Makes a source of images that are not drawn yet.

        Args:
          draw: From a chunk's number to its images on this process's devices.
          places: Where they are drawn.
          num_devices: How many of this process's devices take them; None for all.
          **options: Those of `DrawnSource`.
        """
        parts = places[0].share[1]
        self.jointly = parts > 1
        joint = {"pick": pick_together, "wait": wait_together, "ahead": False}
        how = joint if self.jointly else {"pick": _pick}
        super().__init__(draw, num_threads=len(places), **how, **options)
        self.mesh = local_mesh(num_devices)
        self._num_places = len(places)
        # One place has all devices of the process, several have one each.
        devices = self.mesh.size // len(places)
        self.rows_per_turn = -(-(self.chunk_size // parts) // devices)

    def num_turns(self, share: tuple[int, int]) -> int:
        """Returns how many turns one process has."""
        return len(self._turns_of(share))

    def turns(self, share: tuple[int, int], start: int) -> Iterator[LocalRows]:
        """Gives one process's turns, from one on."""
        turns = self._turns_of(share)[start:]
        drawn = self.chunks([chunk for turn in turns for chunk in turn])
        for turn in turns:
            chunks = [next(drawn).shifted(number * self.chunk_size) for number in turn]
            yield chunks[0] if self._num_places == 1 else join_devices(chunks, self.mesh)

    def _turns_of(self, share: tuple[int, int]) -> list[range]:
        """The chunks of each of a process's turns."""
        index, count = (0, 1) if self.jointly else share
        chunks = range(self.num_chunks)
        all_turns = [chunks[i : i + self._num_places] for i in chunks[:: self._num_places]]
        return all_turns[index::count]


def _pick(chunk: LocalRows, row: int) -> UInt8[np.ndarray, "h w 3"]:
    (place,) = np.flatnonzero(chunk.positions == row)
    (image,) = fetch_rows(chunk.images, [int(place)])
    return image
