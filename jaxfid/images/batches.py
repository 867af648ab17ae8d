"""A source's images in padded batches: decoded in parallel, in order, this process's share."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from jaxfid.errors import InputError
from jaxfid.images.cores import count_usable_cores
from jaxfid.images.decode import require_strict_pillow
from jaxfid.images.interface import ImageSource

CANVAS_SIDES_PX = (32, 64, 128, 256, 512)
"""Sides of the square canvases that batches come in, so that few shapes are ever compiled."""

REMOTE_WORKERS = 32
"""Threads that read from a place far away: they wait for answers, not for cores."""

_LOOKAHEAD_BATCHES = 2  # one for the device to take next, one under way
_CHUNK_IMAGES = 16  # handing a task over costs some 20 us, decoding a small image no more

Prepared = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
Prepare = Callable[[UInt8[np.ndarray, "h w 3"]], Prepared]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Images of any sizes in the top-left corners of equal canvases.

    Attributes:
      images: 0..255; float32 if one of them was reduced to the network's size, else uint8. Zero
        outside the images.
      sizes: Height and width in pixels; 1 and 1 where there is no image.
      mask: True where there is an image; False for padding and for skipped images.
      indices: Positions in the source, -1 for padding.
    """

    images: UInt8[np.ndarray, "n side side 3"] | Float32[np.ndarray, "n side side 3"]
    sizes: Int32[np.ndarray, "n 2"]
    mask: Bool[np.ndarray, " n"]
    indices: Int64[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Skipped:
    """An image that was left out.

    Attributes:
      key: Its key in the source.
      reason: What was wrong with it.
    """

    key: str
    reason: str


_Row = np.ndarray | Skipped
_Task = Callable[[], object]
_Wait = Callable[[], object]
_Submit = Callable[[_Task], _Wait]


class _Part:
    """This process's rows of one batch while they are read, a chunk at a time."""

    def __init__(self, positions: range, chunks: list[range], num_rows: int) -> None:
        self.chunks = chunks
        self.waits: list[_Wait] = []
        self.skipped: list[Skipped] = []
        self._positions = positions
        self._num_rows = num_rows
        self._rows: dict[int, list[_Row]] = {}
        self._batch: Batch | None = None
        self._lock = threading.Lock()

    def add(self, number: int, rows: list[_Row]) -> None:
        """Takes the rows of a chunk. The last one to arrive makes the batch, mostly in a worker."""
        with self._lock:
            self._rows[number] = rows
            is_whole = len(self._rows) == len(self.chunks)
        if is_whole:  # outside the lock: copying the rows takes longer than all else here
            self._make_batch()

    def finish(self) -> Batch:
        """Waits for the batch and returns it; raises the error of the first image that has one."""
        for wait in self.waits:
            wait()
        return self._batch or self._make_batch()  # the second where this process has no image in it

    def _make_batch(self) -> Batch:
        # Popped, so that the images are not held twice while the batch waits to be taken.
        rows = [row for number in range(len(self._rows)) for row in self._rows.pop(number)]
        self.skipped = [row for row in rows if isinstance(row, Skipped)]
        self._batch = _assemble(self._positions, rows, self._num_rows)
        return self._batch


class Batches:
    """The batches of a source that one process of several is to score, in source order.

    Batch `t` of all processes together holds images `t * batch_size` and following; process `p` of
    `P` has the `p`-th of `P` equal parts of it. Every process makes the same number of batches, all
    of `batch_size / P` rows; the last may be padding in part or whole. Each iteration is a pass of
    its own. Memory does not grow with the number of images: at most a few batches are held, and in
    full size one large image per worker. Workers end with the iterator, early or not.

    Attributes:
      skipped: Images that the last iteration left out so far, in source order.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        batch_size: int,
        num_workers: int | None,
        prepare: Prepare,
        on_error: str = "fail",
        share: tuple[int, int] = (0, 1),
        start: int = 0,
    ) -> None:
        """Makes an iterable of batches.

        Args:
          source: Where the images come from.
          batch_size: Images in a batch of all processes together.
          num_workers: Threads that decode; with 0 the iterating thread does; None is one for each core
            that this process may use, and `REMOTE_WORKERS` at least for a source far away.
          prepare: What is done to every image in the workers: crops, and the reduction of a side above 512
            pixels, the largest canvas.
          on_error: Whether an unreadable image ends the pass ("fail") or is left out ("skip").
          share: This process's index and the number of processes.
          start: First batch, to go on where an earlier pass ended.

        Raises:
          InputError: An argument is out of range.
        """
        if num_workers is None:
            num_workers = max(count_usable_cores(), REMOTE_WORKERS if source.is_remote else 0)
        _check_arguments(batch_size, num_workers, on_error, share)
        num_batches = -(-len(source) // batch_size)
        if not 0 <= start <= num_batches:
            raise InputError(f"start: expected a batch of 0..{num_batches}, found {start}")
        self.skipped: list[Skipped] = []
        self._source = source
        self._batch_size = batch_size
        self._num_rows = batch_size // share[1]
        self._numbers = range(start, num_batches)
        self._num_workers = num_workers
        self._prepare = prepare
        self._skip = on_error == "skip"
        self._share = share

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Batch]:
        self.skipped = []
        stop = threading.Event()
        numbers = iter(self._numbers)
        with _workers(self._num_workers, stop) as submit:

            def start(number: int) -> _Part:
                part = self._part(number)
                for chunk in range(len(part.chunks)):
                    part.waits.append(submit(functools.partial(self._read, part, chunk, stop)))
                return part

            # A bounded number of batches is decoded ahead: memory stays the same for any size of set.
            pending = deque(map(start, itertools.islice(numbers, _LOOKAHEAD_BATCHES)))
            while pending:
                pending.extend(map(start, itertools.islice(numbers, 1)))
                part = pending.popleft()
                batch = part.finish()
                self.skipped += part.skipped
                yield batch

    def _part(self, number: int) -> _Part:
        """This process's images of a batch; fewer than its rows at the end."""
        index, _ = self._share
        first = number * self._batch_size + index * self._num_rows
        positions = range(first, max(first, min(first + self._num_rows, len(self._source))))
        return _Part(positions, _cut(positions, self._chunk_images()), self._num_rows)

    def _chunk_images(self) -> int:
        """Images per task: many, since handing over small ones costs as much as decoding them."""
        even = -(-self._num_rows // (2 * max(self._num_workers, 1)))
        return min(even, _CHUNK_IMAGES)

    def _read(self, part: _Part, chunk: int, stop: threading.Event) -> None:
        rows: list[_Row] = []
        for position in part.chunks[chunk]:
            if stop.is_set():
                return
            try:
                rows.append(self._prepare_named(self._source.read(position), position))
            except InputError as error:
                if not self._skip:
                    raise _name_remedy(error, self._source.keys[position]) from error
                require_strict_pillow()  # else every image would be skipped for what is not its fault
                rows.append(Skipped(self._source.keys[position], str(error)))
        part.add(chunk, rows)

    def _prepare_named(self, image: np.ndarray, position: int) -> np.ndarray:
        """Prepares an image; what is wrong with it is said with its name, which reading says itself."""
        try:
            return self._prepare(image)
        except InputError as error:
            key = self._source.keys[position]
            raise InputError(f"{self._source.name}: {key}: {error}") from error


def _name_remedy(error: InputError, key: str) -> InputError:
    """Returns the error of an image with what to do; other errors are no single file's and stay."""
    if key not in str(error):
        return error
    return InputError(
        f"{error}; to leave such images out: --on-error skip, on_error='skip' in Python"
    )


@contextlib.contextmanager
def _workers(num_workers: int, stop: threading.Event) -> Iterator[_Submit]:
    """Gives a function that starts a task and returns the wait for its result.

    On the way out `stop` is set, tasks not begun are dropped and those under way waited for.
    """
    if num_workers == 0:
        yield lambda task: task
        return
    with concurrent.futures.ThreadPoolExecutor(num_workers, "jaxfid-decode") as pool:
        try:
            yield lambda task: pool.submit(task).result
        finally:
            stop.set()  # first, or the tasks under way would go on to the end of their chunks
            pool.shutdown(wait=False, cancel_futures=True)


def _cut(part: range, length: int) -> list[range]:
    return [part[first : first + length] for first in range(0, len(part), length)]


def _assemble(part: range, rows: list[_Row], num_rows: int) -> Batch:
    """Puts rows on canvases of the smallest side that holds them all."""
    present = [(i, row) for i, row in enumerate(rows) if isinstance(row, np.ndarray)]
    longest = max((max(image.shape[:2]) for _, image in present), default=1)
    side = next(side for side in CANVAS_SIDES_PX if side >= longest)
    # One image that was reduced, and so is no longer of bytes, makes the batch one of floats.
    reduced = any(image.dtype != np.uint8 for _, image in present)
    batch = Batch(
        images=np.zeros((num_rows, side, side, 3), np.float32 if reduced else np.uint8),
        sizes=np.ones((num_rows, 2), np.int32),
        mask=np.zeros(num_rows, bool),
        indices=np.full(num_rows, -1, np.int64),
    )
    batch.indices[: len(part)] = part
    for row, image in present:
        height, width, _ = image.shape
        batch.images[row, :height, :width] = image
        batch.sizes[row] = height, width
        batch.mask[row] = True
    return batch


def _check_arguments(
    batch_size: int, num_workers: int, on_error: str, share: tuple[int, int]
) -> None:
    index, count = share
    wrong = []
    if batch_size < 1:
        wrong.append(f"batch_size: expected at least 1, found {batch_size}")
    if num_workers < 0:
        wrong.append(f"num_workers: expected 0 or more, found {num_workers}")
    if on_error not in ("fail", "skip"):
        wrong.append(f"on_error: expected 'fail' or 'skip', found {on_error!r}")
    if not 0 <= index < count:
        wrong.append(f"share: expected an index of 0..{count - 1}, found {index}")
    elif batch_size % count:
        wrong.append(f"batch_size: expected a multiple of {count} processes, found {batch_size}")
    if wrong:
        raise InputError("; ".join(wrong))
