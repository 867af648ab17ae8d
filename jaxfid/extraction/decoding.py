"""Batches for one extractor or several: images are decoded once, and prepared for each input rule."""

import concurrent.futures
import dataclasses
import functools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from jaxfid.images.batches import CANVAS_SIDES_PX, Batch, Batches, Skipped
from jaxfid.images.checks import warn_of_range
from jaxfid.images.interface import ImageSource
from jaxfid.preprocessing.crop import crop_image
from jaxfid.preprocessing.protocol import Protocol
from jaxfid.preprocessing.resize import reduce_on_host

Preparation = tuple[Any, ...]
"""What decode workers do for an input rule. Rules of the same preparation share their batches."""


@dataclasses.dataclass(frozen=True)
class JointBatch(Batch):
    """A batch as it was prepared for the first rule, with the same images as prepared for the others.

    Attributes:
      prepared: The batch by preparation.
    """

    prepared: Mapping[Preparation, Batch]

    def of(self, protocol: Protocol) -> Batch:
        """Returns the batch for an input rule."""
        return self.prepared[_preparation(protocol)]


class JointBatches:
    """The batches of a source, prepared for every input rule; each image is read once.

    Attributes:
      skipped: Images that the last iteration left out so far.
      remarks: Sentences about the values of its first images, where these look wrong.
    """

    def __init__(
        self,
        source: ImageSource,
        protocols: Sequence[Protocol],
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Takes the source, the input rules, and the options of `Batches`."""
        rules = {_preparation(protocol): protocol for protocol in protocols}
        shared = source if len(rules) == 1 else _ReadOnce(source, num_readers=len(rules))
        self._batches = {
            preparation: Batches(
                shared, prepare=functools.partial(prepare_image, protocol=protocol), **options
            )
            for preparation, protocol in rules.items()
        }
        self._first = next(iter(self._batches.values()))
        self.remarks: list[str] = []

    @property
    def skipped(self) -> list[Skipped]:
        """Images that the last iteration left out so far, in source order."""
        return self._first.skipped

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[JointBatch]:
        for number, batches in enumerate(zip(*self._batches.values(), strict=True)):
            if number == 0:
                self.remarks = warn_of_range(_images_of(batches[0]))
            fields = {f.name: getattr(batches[0], f.name) for f in dataclasses.fields(Batch)}
            prepared = dict(zip(self._batches, batches, strict=True))
            yield JointBatch(**fields, prepared=prepared)


def _images_of(batch: Batch) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Gives the images of a batch without their canvases, as long as none of it was reduced."""
    if batch.images.dtype == np.uint8:
        for row in np.flatnonzero(batch.mask):
            height, width = batch.sizes[row]
            yield batch.images[row, :height, :width]


def prepare_image(
    image: UInt8[np.ndarray, "h w 3"], protocol: Protocol
) -> UInt8[np.ndarray, "h2 w2 3"] | Float32[np.ndarray, "out out 3"]:
    """Returns what a decode worker makes of an image: cropped, and reduced where no canvas holds it.

    Args:
      image: 8-bit RGB.
      protocol: Whose crops and size.
    """
    cropped = crop_image(image, protocol.crops)
    if max(cropped.shape) <= CANVAS_SIDES_PX[-1]:
        return cropped
    return reduce_on_host(cropped, protocol)


def _preparation(protocol: Protocol) -> Preparation:
    return (protocol.crops, protocol.resampling, protocol.size_px)


class _ReadOnce(ImageSource):
    """A source whose images are each read once for several readers, and forgotten after the last of them."""

    def __init__(self, source: ImageSource, *, num_readers: int) -> None:
        self.name, self.keys = source.name, source.keys
        self._source, self._num_readers = source, num_readers
        self._reads: dict[int, tuple[concurrent.futures.Future[np.ndarray], int]] = {}
        self._lock = threading.Lock()

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        with self._lock:
            is_first = index not in self._reads
            future, times = self._reads.get(index, (concurrent.futures.Future(), 0))
            self._reads[index] = future, times + 1
            if times + 1 == self._num_readers:
                del self._reads[index]
        if is_first:
            # What fails fails for every reader alike.
            try:
                future.set_result(self._source.read(index))
            except BaseException as error:
                future.set_exception(error)
        return future.result()
