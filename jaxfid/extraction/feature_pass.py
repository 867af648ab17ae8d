"""The pass of images through the network: compiled functions for one batch, and the loop that feeds them."""

import collections
import functools
import typing
from collections.abc import Callable, Iterable

import jax
from jax.sharding import Mesh
from jaxtyping import Array

from jaxfid.activity import doing
from jaxfid.context import own_context
from jaxfid.distributed.termination import deferred_sigterm
from jaxfid.extraction.devices import is_cpu, map_over_devices, put_replicated, put_rows
from jaxfid.extraction.microbatch import RowFunction, map_rows
from jaxfid.extraction.programs import share
from jaxfid.extractors.interface import Extractor
from jaxfid.images.batches import Batch
from jaxfid.preprocessing.protocol import Protocol
from jaxfid.preprocessing.resize import BatchPositions, batch_positions, normalise, resize

STEPS_IN_FLIGHT = 2
"""How many batches the devices may be behind the host: enough to overlap, few enough to bound memory."""

Features = dict[str, Array]
"""Features by name, each `(rows, width)` float32, the rows divided over the devices."""


@typing.runtime_checkable
class Accumulator(typing.Protocol):
    """Something that keeps what it needs of each batch's features."""

    def add(self, features: Features, batch: Batch) -> None:
        """Takes one batch's features; must not wait for the devices."""


@typing.runtime_checkable
class Pass(typing.Protocol):
    """From batches to features, on some devices."""

    mesh: Mesh

    def __call__(self, batch: Batch) -> Features:
        """Returns the features of a batch; must not wait for the devices."""
        ...


class FeaturePass:
    """An extractor made ready on a mesh: batches in, features out, without waiting for them.

    Resize and network are two compiled functions. The first compiles in a fraction of a second, once per
    canvas size. The second compiles once. The tests count how often both are traced.
    """

    @own_context()
    def __init__(self, extractor: Extractor, mesh: Mesh) -> None:
        self.mesh = mesh
        # Not the extractor itself: passes are kept for as long as it lives, and must not keep it alive.
        self._protocol = extractor.protocol
        self._params = put_replicated(extractor.params, mesh)
        self._prepare, self._network = share(
            extractor, ("pass", mesh), lambda: make_programs(extractor, mesh)
        )

    def __call__(self, batch: Batch) -> Features:
        """Returns the features of a batch whose size the number of devices divides."""
        positions = batch_positions(self._protocol, batch.sizes)
        images, positions = put_rows((batch.images, positions), self.mesh)
        return self._network(self._params, self._prepare((), (images, positions)))


def make_programs(extractor: Extractor, mesh: Mesh) -> tuple[RowFunction, RowFunction]:
    """Returns the two compiled functions of a pass, each over one device's rows.

    The first takes an empty tree and images with their positions, and gives the network's input. The
    second takes params and that input, and gives features by name.

    Args:
      extractor: The network.
      mesh: The devices, of which nothing else is asked: a TPU that is not here can be compiled for.
    """
    protocol = extractor.protocol
    # One image at a time keeps the working set in a CPU core's cache. Accelerators want many at once.
    by_image = functools.partial(map_rows, rows_per_device=1) if is_cpu(mesh) else _as_it_is
    over_devices = functools.partial(map_over_devices, mesh=mesh, replicated=(True, False))
    resized = by_image(lambda _, rows: prepare(rows[0], rows[1], protocol))
    return over_devices(resized), over_devices(by_image(extractor.extract))


def run_pass(
    feature_pass: Pass,
    batches: Iterable[Batch],
    accumulators: Iterable[Accumulator],
    *,
    advance: Callable[[int], object] = lambda rows: None,
    shown: bool = False,
) -> None:
    """Sends every batch through the network and its features to every accumulator.

    Args:
      feature_pass: The network made ready.
      batches: Decoded ahead by their own threads. They are made in the caller's context, not in ours.
      accumulators: Keep what the metrics need.
      advance: Told the number of images of each batch that is done.
      shown: Say on stderr where a batch waits for the compiler.
    """
    accumulators = tuple(accumulators)
    in_flight: collections.deque[tuple[Features, int]] = collections.deque()

    def finish_oldest() -> None:
        features, rows = in_flight.popleft()
        jax.block_until_ready(features)
        advance(rows)

    with deferred_sigterm():
        for batch in batches:
            # Sending a batch takes no time, unless its shape is new.
            with own_context(), doing("compiling the network", shown=shown):
                features = feature_pass(batch)
                for accumulator in accumulators:
                    accumulator.add(features, batch)
            # The host runs a few steps ahead and no more, or batches would pile up in the memory of devices.
            in_flight.append((features, int(batch.mask.sum())))
            if len(in_flight) > STEPS_IN_FLIGHT:
                finish_oldest()
        while in_flight:
            finish_oldest()


def prepare(images: Array, positions: BatchPositions, protocol: Protocol) -> Array:
    """Returns the network's input from images in 0..255 in the corner of a canvas."""
    return normalise(resize(images, positions, protocol), protocol)


def _as_it_is(function: RowFunction) -> RowFunction:
    return function
