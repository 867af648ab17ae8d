"""Sources whose images are made on the devices, and stay there."""

import abc
from collections.abc import Iterator

from jax.sharding import Mesh

from jaxfid.extraction.local_rows import LocalRows
from jaxfid.images.interface import ImageSource


class DeviceSource(ImageSource):
    """Images that a pass takes from the devices, a turn at a time. `read` brings single ones to the host.

    Attributes:
      mesh: The devices of this process on which they lie.
      rows_per_turn: Images of a turn on each device.
    """

    mesh: Mesh
    rows_per_turn: int

    @abc.abstractmethod
    def num_turns(self, share: tuple[int, int]) -> int:
        """Returns how many turns one process has.

        Args:
          share: Its index, and the number of processes.
        """

    @abc.abstractmethod
    def turns(self, share: tuple[int, int], start: int) -> Iterator[LocalRows]:
        """Gives one process's turns, each divided over `mesh`.

        The positions of their rows are those of the images in the source; places from its length on are
        no images of it.

        Args:
          share: Its index, and the number of processes.
          start: The first turn, to go on where an earlier pass ended.
        """
