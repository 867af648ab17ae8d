"""Images that are drawn when they are wanted, a chunk at a time: a generator's samples as a source."""

import collections
import concurrent.futures
import operator
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.arrays import make_position_keys
from jaxfid.images.interface import ImageSource

Chunk = Any
"""Images `(size, h, w, 3)` of uint8, on the host or wherever `pick` finds them."""


class DrawnSource(ImageSource):
    """The first images of an endless row of equal chunks, each drawn on its own.

    Chunks are drawn ahead by threads of the source's own and dropped after use; one that is asked for
    again is drawn again. So memory does not grow with the number of images, and `draw` has to give
    the same images for the same chunk, whenever and in whichever thread it is called.

    Attributes:
      chunk_size: Images of a chunk.
      num_chunks: How many chunks hold the images.
    """

    drawn = True

    def __init__(
        self,
        draw: Callable[[int], Chunk],
        *,
        name: str,
        num_images: int,
        chunk_size: int,
        fingerprint: str,
        num_threads: int = 1,
        pick: Callable[[Chunk, int], UInt8[np.ndarray, "h w 3"]] = operator.getitem,
        wait: Callable[[Future[Chunk]], Chunk] = Future.result,
        ahead: bool = True,
    ) -> None:
        """Makes a source of images that are not drawn yet.

        Args:
          draw: From a chunk's number to its images.
          name: What to call the source.
          num_images: Images of the source; the last chunk's rest is not used.
          chunk_size: Images that `draw` gives at once.
          fingerprint: What identifies generator and noise.
          num_threads: Chunks drawn at the same time.
          pick: From a chunk and a row to the image on the host.
          wait: Waits for a chunk that is being drawn, and returns it.
          ahead: Whether further chunks are drawn meanwhile.

        Raises:
          InputError: A number is below 1.
        """
        numbers = {"num_images": num_images, "chunk_size": chunk_size}
        wrong = [f"{key}: expected at least 1, found {n}" for key, n in numbers.items() if n < 1]
        if wrong:
            raise InputError("; ".join(wrong))
        self.name = name
        self.keys = make_position_keys(num_images)
        self._draw, self._pick, self._fingerprint = draw, pick, fingerprint
        self.chunk_size = chunk_size
        self.num_chunks = -(-num_images // chunk_size)
        self._wait, self._ahead = wait, num_threads if ahead else 0
        self._chunks: collections.OrderedDict[int, Future[Chunk]] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads, "jaxfid-draw")
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position, after the wait for its chunk; raises what `draw` raises."""
        number, row = divmod(range(len(self.keys))[index], self.chunk_size)
        return self._pick(self._chunk(range(number, self.num_chunks)), row)

    def chunks(self, numbers: Sequence[int]) -> Iterator[Chunk]:
        """Gives whole chunks as `draw` gives them, in this order; those to come are drawn ahead."""
        for place in range(len(numbers)):
            yield self._chunk(numbers[place:])

    def _chunk(self, numbers: Sequence[int]) -> Chunk:
        """Returns the first of some chunks, after the wait for it; the next ones are begun."""
        with self._lock:  # not held while waiting: other threads read other chunks
            chunk, *_ = [self._start(number) for number in numbers[: 1 + self._ahead]]
            self._drop_oldest()
        return self._wait(chunk)

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns what identifies generator and noise, the same for every image."""
        return self._fingerprint

    def _start(self, number: int) -> Future[Chunk]:
        if number not in self._chunks:
            self._chunks[number] = self._pool.submit(self._draw, number)
        self._chunks.move_to_end(number)
        return self._chunks[number]

    def _drop_oldest(self) -> None:
        """Keeps the chunks drawn ahead and as many again, for readers that lag behind the first."""
        while len(self._chunks) > 2 * (self._ahead + 1):
            self._chunks.popitem(last=False)  # not cancelled: another thread may wait for it
