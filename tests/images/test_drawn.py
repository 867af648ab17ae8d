"""Images drawn in chunks when they are wanted."""

import threading
import time

import numpy as np
import pytest

from jaxfid.errors import InputError, JaxfidError
from jaxfid.images.batches import Batches
from jaxfid.images.drawn import DrawnSource
from tests.images.files import make_images

CHUNK = 4
IMAGES = make_images(24)


class Drawer:
    """Gives the chunks of `IMAGES`, and remembers what was asked for and how much at the same time."""

    def __init__(self):
        self.asked, self.running, self.most = [], 0, 0
        self._lock = threading.Lock()

    def __call__(self, chunk):
        with self._lock:
            self.asked.append(chunk)
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.002)
        with self._lock:
            self.running -= 1
        return IMAGES[chunk * CHUNK :][:CHUNK]


def make_source(draw, *, num_images=22, **options):
    options = {"name": "drawn", "fingerprint": "noise 0", "chunk_size": CHUNK} | options
    return DrawnSource(draw, num_images=num_images, **options)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (5, 2), (16, 4)])
def test_images_are_those_of_the_chunks_in_order(num_threads, batch_size, num_workers):
    draw = Drawer()
    source = make_source(draw, num_threads=num_threads)
    batches = Batches(
        source, batch_size=batch_size, num_workers=num_workers, prepare=lambda image: image
    )
    images = np.concatenate([batch.images[batch.mask][:, :5, :7] for batch in batches])
    np.testing.assert_array_equal(images, IMAGES[:22])
    assert draw.most <= num_threads
    if num_workers == 0:  # in order, each chunk is drawn once
        assert sorted(draw.asked) == list(range(6))


def test_chunks_are_drawn_when_wanted_and_only_a_few_ahead():
    draw = Drawer()
    source = make_source(draw)
    assert (source.name, len(source), draw.asked) == ("drawn", 22, [])
    source.read(0)
    time.sleep(0.05)
    assert draw.asked == [0, 1]


def test_dropped_chunk_is_drawn_again():
    draw = Drawer()
    source = make_source(draw)
    for index in (0, 4, 8, 12, 16, 20, 1):
        np.testing.assert_array_equal(source.read(index), IMAGES[index])
    assert draw.asked.count(0) == 2


def test_many_readers_of_many_chunks_all_get_theirs():
    source = make_source(lambda chunk: IMAGES[chunk][None], num_images=24, chunk_size=1)
    wrong = []

    def read(start):
        for index in [*range(start, 24), *range(start)]:
            if not np.array_equal(source.read(index), IMAGES[index]):
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(0, 24, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_subset_and_positions_outside():
    source = make_source(Drawer())
    np.testing.assert_array_equal(source.take([21, 3]).read(0), IMAGES[21])
    with pytest.raises(IndexError):
        source.read(22)


def test_error_of_drawing_comes_to_the_reader():
    def draw(chunk):
        raise JaxfidError("no images today")

    with pytest.raises(JaxfidError, match="no images today"):
        make_source(draw).read(0)


def test_digest_is_of_the_fingerprint_and_the_number():
    sources = [make_source(Drawer()), make_source(Drawer(), fingerprint="noise 1")]
    digests = {source.digest() for source in [*sources, make_source(Drawer(), num_images=21)]}
    assert len(digests) == 3
    assert make_source(Drawer()).digest() in digests


@pytest.mark.parametrize(("num_images", "chunk_size"), [(0, 4), (4, 0)])
def test_numbers_below_one(num_images, chunk_size):
    with pytest.raises(InputError, match="expected at least 1, found 0"):
        make_source(Drawer(), num_images=num_images, chunk_size=chunk_size)
