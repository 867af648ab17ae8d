"""Who calls a user's sampler, and which of the images that it gives are whose."""

import contextlib
import dataclasses
from typing import Any, cast, get_args

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxfid.checkpoints.defaults import SamplerPlacement
from jaxfid.distributed.group import process_group
from jaxfid.errors import InputError
from jaxfid.extraction.devices import DATA_AXIS, local_mesh
from jaxfid.extraction.local_rows import LocalRows, take_local_rows


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a sampler is loaded and called.

    Attributes:
      mesh: The devices of this process that take its images.
      device: The device that is JAX's default there; None leaves the user's own.
      share: Which part of a chunk is this process's where the sampler gives only that: its number, and
        how many parts there are.
    """

    mesh: Mesh
    device: Any = None
    share: tuple[int, int] = (0, 1)

    def as_default(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the context in which the user's functions are called."""
        return contextlib.nullcontext() if self.device is None else jax.default_device(self.device)

    def rows_of(self, images: Array | np.ndarray, chunk_size: int) -> int:
        """Returns how many images are expected in what the sampler gave.

        Only an array over several processes holds the whole chunk.
        """
        _, count = self.share
        return chunk_size // count if _is_own(images) else chunk_size

    def take(self, images: Array | np.ndarray, chunk_size: int) -> LocalRows:
        """Returns this process's images of a chunk, on its devices.

        Raises:
          InputError: A device holds parts of images.
        """
        index, count = self.share
        start = index * chunk_size // count if _is_own(images) else 0
        return take_local_rows(images, self.mesh, start=start)


def check_placement(placement: str) -> SamplerPlacement:
    """Returns the placement.

    Raises:
      InputError: There is none of that name.
    """
    known = get_args(SamplerPlacement)
    if placement not in known:
        names = ", ".join(map(repr, known))
        raise InputError(f"sampler_placement: expected one of {names}, found {placement!r}")
    return cast(SamplerPlacement, placement)


def check_chunk_size(placement: SamplerPlacement, chunk_size: int) -> None:
    """Checks that the processes can draw a chunk together.

    Raises:
      InputError: They cannot divide it evenly.
    """
    count = process_group().count
    if placement == "global" and chunk_size % count:
        raise InputError(
            f"chunk_size: expected a multiple of the {count} processes that draw each chunk together, "
            f"found {chunk_size}"
        )


def choose_places(
    placement: SamplerPlacement, num_devices: int | None, chunk_size: int
) -> list[Place]:
    """Returns where this process calls the sampler; chunk after chunk goes to one after the other.

    Args:
      placement: Who calls it.
      num_devices: How many of this process's devices take images; None for all.
      chunk_size: Images of a chunk.

    Raises:
      InputError: A chunk that all processes draw together does not divide evenly.
    """
    check_chunk_size(placement, chunk_size)
    mesh = local_mesh(num_devices)
    if placement == "device":
        return [Place(_mesh_of(device), device) for device in mesh.devices.flat]
    group = process_group()
    return [Place(mesh, share=(group.index, group.count) if placement == "global" else (0, 1))]


def _mesh_of(device: Any) -> Mesh:  # noqa: ANN401
    return Mesh(np.array([device]), (DATA_AXIS,))


def _is_own(images: Array | np.ndarray) -> bool:
    """Whether an array is of this process alone."""
    return not isinstance(images, jax.Array) or images.is_fully_addressable
