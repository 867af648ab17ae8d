"""Laws of batches: any cut gives the whole, workers change nothing, nothing is left behind."""

import itertools
import os
import threading
import time

import numpy as np
import pytest
from PIL import ImageFile

from jaxfid.errors import InputError
from jaxfid.images import batches as batches_module
from jaxfid.images.batches import CANVAS_SIDES_PX, Batches, Skipped
from jaxfid.images.cores import count_usable_cores
from jaxfid.images.interface import ImageSource
from jaxfid.images.sources import open_source
from tests.images.files import make_files, make_images, write_folder

BAD = "image 3 is corrupt"


class Drawn(ImageSource):
    """Images of the sizes given, each filled with its index, that counts what is being read."""

    def __init__(self, sizes, *, bad=(), seconds=0.0):
        self.name = "drawn"
        self.keys = [f"{index:05d}" for index in range(len(sizes))]
        self._sizes = sizes
        self._bad = bad
        self._seconds = seconds
        self._lock = threading.Lock()
        self.reads = []
        self.reading = self.most_reading = 0

    def read(self, index):
        with self._lock:
            self.reads.append(index)
            self.reading += 1
            self.most_reading = max(self.reading, self.most_reading)
        time.sleep(self._seconds)
        with self._lock:
            self.reading -= 1
        if index in self._bad:
            raise InputError(f"image {index} is corrupt")
        return np.full((*self._sizes[index], 3), index % 255 + 1, np.uint8)

    def fingerprint(self, index, *, whole=False):
        return str(self._sizes[index])


def prepare(image):
    if max(image.shape) <= CANVAS_SIDES_PX[-1]:
        return image
    return np.full((299, 299, 3), image[0, 0, 0] + 0.5, np.float32)


def make_batches(source, **options):
    options = {"batch_size": 4, "num_workers": 2, "prepare": prepare} | options
    return Batches(source, **options)


def small(count):
    return Drawn([(2 + index % 5, 3) for index in range(count)])


def list_indices(batches):
    return [index for batch in batches for index in batch.indices[batch.mask].tolist()]


def decode_threads():
    return [t for t in threading.enumerate() if t.name.startswith("jaxfid-decode")]


def assert_equal_batches(first, second):
    for a, b in itertools.zip_longest(first, second):
        for field in ("images", "sizes", "mask", "indices"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_all_images_once_in_source_order_in_full_batches(count):
    batches = make_batches(small(count))
    seen = list(batches)
    assert len(seen) == len(batches) == -(-count // 4)
    assert list_indices(seen) == list(range(count))
    assert all(len(batch.images) == 4 for batch in seen)


def test_images_lie_in_the_top_left_corner_and_the_rest_is_zero():
    batch = next(iter(make_batches(small(3))))
    assert batch.images.dtype == np.uint8
    assert batch.sizes.tolist() == [[2, 3], [3, 3], [4, 3], [1, 1]]
    assert batch.mask.tolist() == [True, True, True, False]
    assert batch.indices.tolist() == [0, 1, 2, -1]
    assert (batch.sizes.dtype, batch.mask.dtype, batch.indices.dtype) == (np.int32, bool, np.int64)
    for row, (height, width) in enumerate(batch.sizes[:3]):
        canvas = batch.images[row].copy()
        assert (canvas[:height, :width] == row + 1).all()
        canvas[:height, :width] = 0
        assert not canvas.any()
    assert not batch.images[3].any()


@pytest.mark.parametrize(
    ("longest", "side"), [(1, 32), (32, 32), (33, 64), (129, 256), (257, 512), (512, 512)]
)
def test_canvas_is_the_smallest_that_holds_all(longest, side):
    batch = next(iter(make_batches(Drawn([(5, 5), (1, longest)]))))
    assert batch.images.shape == (4, side, side, 3)
    assert side in CANVAS_SIDES_PX


def test_images_above_512_are_reduced_and_the_batch_is_float32():
    batch = next(iter(make_batches(Drawn([(513, 2), (400, 512), (2, 600)]))))
    assert batch.images.dtype == np.float32
    assert batch.images.shape == (4, 512, 512, 3)
    assert batch.sizes.tolist() == [[299, 299], [400, 512], [299, 299], [1, 1]]
    assert (batch.images[0, :299, :299] == 1.5).all()
    assert (batch.images[1, :400, :512] == 2).all()
    assert not batch.images[0, 299:].any()


def test_every_image_is_prepared_by_the_workers():
    threads = set()

    def cut(image):
        threads.add(threading.current_thread().name)
        return image[:1, :1]

    batches = list(make_batches(small(9), prepare=cut))
    assert [batch.sizes.tolist() for batch in batches] == [[[1, 1]] * 4] * 3
    assert all(name.startswith("jaxfid-decode") for name in threads)


def test_batch_beside_a_reduced_one_stays_uint8():
    source = Drawn([(5, 5)] * 4 + [(600, 5)])
    assert [batch.images.dtype for batch in make_batches(source)] == [np.uint8, np.float32]


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_workers_change_nothing(num_workers):
    sizes = [(1 + index % 70, 1 + index % 33) for index in range(50)]
    sizes[20] = (700, 3)
    options = {"batch_size": 12, "on_error": "skip"}
    alone = make_batches(Drawn(sizes, bad=(3, 49)), num_workers=0, **options)
    helped = make_batches(Drawn(sizes, bad=(3, 49)), num_workers=num_workers, **options)
    assert_equal_batches(alone, helped)
    assert alone.skipped == helped.skipped


def test_workers_change_nothing_on_files(tmp_path):
    keys = [f"{index:02d}.png" for index in range(30)]
    source = open_source(write_folder(tmp_path, make_files(keys)))
    for num_workers in (0, 2):
        batches = list(make_batches(source, batch_size=7, num_workers=num_workers))
        images = np.concatenate([batch.images[batch.mask] for batch in batches])
        np.testing.assert_array_equal(images[:, :5, :7], make_images(30))


@pytest.mark.parametrize("count", [1, 11, 12, 13, 24, 31])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_shares_are_the_whole_each_image_once(count, processes):
    shares = [
        list(make_batches(small(count), batch_size=12, share=(process, processes)))
        for process in range(processes)
    ]
    whole = list(make_batches(small(count), batch_size=12))
    assert {len(share) for share in shares} == {len(whole)}
    for batches, expected in zip(zip(*shares, strict=True), whole, strict=True):
        rows = 12 // processes
        assert all(len(batch.mask) == rows for batch in batches)
        for field in ("sizes", "mask", "indices"):
            joined = np.concatenate([getattr(batch, field) for batch in batches])
            np.testing.assert_array_equal(joined, getattr(expected, field))


def test_share_reads_no_image_of_another():
    source = small(24)
    list(make_batches(source, share=(1, 2)))
    assert sorted(source.reads) == [i for i in range(24) if i % 4 >= 2]


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_starting_later_gives_the_rest(start):
    rest = make_batches(small(10), start=start)
    assert len(rest) == 3 - start
    assert_equal_batches(rest, list(make_batches(small(10)))[start:])


def test_second_pass_is_like_the_first():
    batches = make_batches(Drawn([(2, 2)] * 5, bad=(3,)), on_error="skip")
    assert_equal_batches(list(batches), list(batches))
    assert batches.skipped == [Skipped("00003", BAD)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_skipped_image_keeps_its_row_and_is_listed(num_workers):
    batches = make_batches(
        Drawn([(2, 2)] * 10, bad=(3, 8)), on_error="skip", num_workers=num_workers
    )
    first, second, third = batches
    assert first.mask.tolist() == [True, True, True, False]
    assert first.indices.tolist() == [0, 1, 2, 3]
    assert first.sizes[3].tolist() == [1, 1]
    assert not first.images[3].any()
    assert second.mask.all()
    assert third.mask.tolist() == [False, True, False, False]
    assert batches.skipped == [Skipped("00003", BAD), Skipped("00008", "image 8 is corrupt")]


def test_batch_of_nothing_but_skipped_images():
    batches = make_batches(Drawn([(2, 2)] * 3, bad=range(3)), on_error="skip")
    assert not next(iter(batches)).mask.any()
    assert len(batches.skipped) == 3


@pytest.mark.parametrize("num_workers", [0, 1, 4])
def test_first_bad_image_in_source_order_ends_the_pass(num_workers):
    batches = make_batches(Drawn([(2, 2)] * 40, bad=(3, 5, 30)), num_workers=num_workers)
    with pytest.raises(InputError, match=BAD):
        list(batches)
    assert not decode_threads()


def test_skipping_forgives_bad_images_and_no_other_error():
    source = small(8)
    source._sizes[5] = None
    with pytest.raises(TypeError):
        list(make_batches(source, on_error="skip"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_look_ahead_is_bounded(num_workers):
    source = small(400)
    batches = iter(make_batches(source, batch_size=20, num_workers=num_workers))
    for done in range(1, 5):
        next(batches)
        time.sleep(0.05)
        most = 20 * (done + 2) if num_workers else 20 * done
        assert 20 * done <= len(source.reads) <= most
    batches.close()


def test_workers_go_on_while_the_caller_computes():
    source = small(400)
    batches = iter(make_batches(source, batch_size=20))
    next(batches)
    deadline = time.monotonic() + 5
    while len(source.reads) < 60 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(source.reads) == 60
    batches.close()


def test_no_more_large_images_are_held_than_there_are_workers():
    alive = most_alive = 0
    lock = threading.Lock()

    class Large(Drawn):
        def read(self, index):
            nonlocal alive, most_alive
            with lock:
                alive += 1
                most_alive = max(alive, most_alive)
            return super().read(index)

    def slow_prepare(image):
        nonlocal alive
        time.sleep(0.002)
        with lock:
            alive -= 1
        return prepare(image)

    source = Large([(600, 600)] * 40)
    list(make_batches(source, batch_size=20, num_workers=3, prepare=slow_prepare))
    assert most_alive <= 3


def test_workers_read_at_the_same_time():
    source = Drawn([(2, 2)] * 12, seconds=0.01)
    list(make_batches(source, batch_size=12, num_workers=3))
    assert source.most_reading == 3


def test_batches_are_put_together_by_the_workers(monkeypatch):
    threads = set()
    assemble = batches_module._assemble

    def watched(*arguments):
        threads.add(threading.current_thread().name)
        return assemble(*arguments)

    monkeypatch.setattr(batches_module, "_assemble", watched)
    list(make_batches(small(12), num_workers=2))
    assert all(name.startswith("jaxfid-decode") for name in threads)


def test_as_many_workers_as_cores_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(batches_module, "count_usable_cores", lambda: 3)
    source = Drawn([(2, 2)] * 12, seconds=0.01)
    list(make_batches(source, batch_size=12, num_workers=None))
    assert source.most_reading == 3


@pytest.mark.parametrize("missing", [(), ("process_cpu_count",), ("sched_getaffinity",)])
def test_cores_are_counted_on_every_system(monkeypatch, missing):
    for name in missing:
        monkeypatch.delattr(os, name, raising=False)
    assert 1 <= count_usable_cores() <= os.cpu_count()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_pillows_leniency_is_no_reason_to_skip_an_image(tmp_path, monkeypatch, num_workers):
    source = open_source(write_folder(tmp_path, make_files(["a.png", "b.png"])))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match="LOAD_TRUNCATED_IMAGES: expected False"):
        list(make_batches(source, on_error="skip", num_workers=num_workers))


def test_without_workers_the_caller_decodes():
    threads = set()
    source = small(8)
    read = source.read
    source.read = lambda index: (threads.add(threading.current_thread()), read(index))[1]
    list(make_batches(source, num_workers=0))
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("how", ["close", "forget", "raise", "finish"])
def test_no_thread_outlives_the_iteration(how):
    batches = iter(make_batches(small(100)))
    next(batches)
    assert decode_threads()
    if how == "close":
        batches.close()
    elif how == "forget":
        del batches
    elif how == "raise":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
    else:
        list(batches)
    assert not decode_threads()


def test_closing_waits_for_the_images_under_way_not_for_their_chunks():
    source = Drawn([(2, 2)] * 400, seconds=0.02)
    batches = iter(make_batches(source, batch_size=40, num_workers=2))
    next(batches)
    read = len(source.reads)
    batches.close()
    assert len(source.reads) < read + 10  # Two chunks of ten are under way.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1, found 0"),
        ({"num_workers": -1}, "num_workers: expected 0 or more, found -1"),
        ({"on_error": "ignore"}, "on_error: expected 'fail' or 'skip', found 'ignore'"),
        ({"share": (2, 2)}, r"share: expected an index of 0\.\.1, found 2"),
        ({"share": (0, 3)}, "batch_size: expected a multiple of 3 processes, found 4"),
        ({"start": 4}, r"start: expected a batch of 0\.\.3, found 4"),
        ({"batch_size": 0, "num_workers": -1}, "at least 1, found 0; num_workers"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        make_batches(small(10), **options)
