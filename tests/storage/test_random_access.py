"""Bytes at any offset, against slices of the whole."""

import gc
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.storage import random_access
from jaxfid.storage.files import write_file
from jaxfid.storage.random_access import FileReader, InflatingReader

# Half noise, half runs, so that input and output blocks do not keep step.
NOISE = np.random.default_rng(0).bytes(50_000)
DATA = NOISE + b"runs" * 20_000 + NOISE[::-1]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(random_access, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(random_access, "_INPUT_BYTES", 300)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data"


def open_deflated(path, crc=None, num_bytes=None):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(DATA) + packer.flush()
    path.write_bytes(b"before" + packed + b"behind")
    return InflatingReader(
        FileReader(path),
        offset=6,
        packed_bytes=len(packed),
        num_bytes=num_bytes or len(DATA),
        crc=zlib.crc32(DATA) if crc is None else crc,
    )


def draw_ranges(count):
    rng = np.random.default_rng(1)
    for first in rng.integers(0, len(DATA) - 1, count).tolist():
        yield first, int(rng.integers(1, min(5000, len(DATA) - first) + 1))


@pytest.mark.parametrize("has_pread", [True, False])
def test_file_gives_slices(path, monkeypatch, has_pread):
    if not has_pread:
        monkeypatch.delattr(os, "pread")
    path.write_bytes(DATA)
    reader = FileReader(path)
    for first, length in draw_ranges(50):
        assert reader.read_at(first, length) == DATA[first : first + length]
    with pytest.raises(InputError, match=f"data: cut off, ends before byte {len(DATA) + 1}"):
        reader.read_at(len(DATA) - 1, 2)


def test_deflated_stream_gives_slices_in_any_order(path, small_blocks):
    reader = open_deflated(path)
    for first, length in draw_ranges(100):
        assert reader.read_at(first, length) == DATA[first : first + length]


def test_deflated_stream_gives_slices_to_threads(path, small_blocks):
    reader = open_deflated(path)
    ranges = list(draw_ranges(100))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda r: reader.read_at(*r), ranges))
    assert parts == [DATA[first : first + length] for first, length in ranges]


def count_inflated(reader, monkeypatch):
    inflated = []
    inflate = reader._inflate
    monkeypatch.setattr(reader, "_inflate", lambda n: (inflated.append(n), inflate(n))[1])
    return inflated


def test_reading_in_order_inflates_everything_once(path, small_blocks, monkeypatch):
    reader = open_deflated(path)
    inflated = count_inflated(reader, monkeypatch)
    for first in range(0, len(DATA), 700):
        reader.read_at(first, min(700, len(DATA) - first))
    assert inflated == list(range(len(DATA) // 1000))


def test_going_back_inflates_one_block(path, small_blocks, monkeypatch):
    reader = open_deflated(path)
    reader.read_at(len(DATA) - 1, 1)
    inflated = count_inflated(reader, monkeypatch)
    reader.read_at(50_000, 10)
    assert inflated == [50]


def test_few_blocks_are_held(path, small_blocks):
    reader = open_deflated(path)
    reader.read_at(0, len(DATA))
    assert len(reader._blocks) == 3


@pytest.mark.parametrize(
    ("wrong", "found"),
    [({"crc": 1}, "checksum does not fit"), ({"num_bytes": len(DATA) + 1}, "data end early")],
)
def test_deflated_stream_that_is_not_what_the_listing_says(path, wrong, found):
    with pytest.raises(InputError, match=f"data: corrupt.*{found}"):
        open_deflated(path, **wrong).read_at(len(DATA) - 1, 1)


def test_deflated_stream_that_is_none(path):
    path.write_bytes(b"\xff" * 100)
    reader = InflatingReader(FileReader(path), offset=0, packed_bytes=100, num_bytes=200, crc=0)
    with pytest.raises(InputError, match="data: corrupt: "):
        reader.read_at(0, 1)


def test_file_that_cannot_be_opened(path):
    with pytest.raises(InputError, match="data: cannot be read: No such file"):
        FileReader(path)


def test_file_is_closed_with_its_reader(path):
    path.write_bytes(DATA)
    reader = FileReader(path)
    file = reader._file
    del reader
    gc.collect()
    assert file.closed


def test_an_object_is_read_by_ranges_from_any_thread(tmp_path):
    write_file(f"memory:/{tmp_path}/data", DATA)
    reader = FileReader(f"memory:/{tmp_path}/data")
    assert reader.num_bytes == len(DATA)
    ranges = list(draw_ranges(50))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda r: reader.read_at(*r), ranges))
    assert parts == [DATA[first : first + length] for first, length in ranges]
    with pytest.raises(InputError, match="data: cut off, ends before byte"):
        reader.read_at(len(DATA) - 1, 2)


def test_a_file_cut_underneath_is_an_error(path):
    path.write_bytes(DATA)
    reader = FileReader(path)
    path.write_bytes(DATA[:10])
    with pytest.raises(InputError, match="data: cut off"):
        reader.read_at(5, 10)


def test_bytes_beyond_the_end_cost_no_memory(path):
    path.write_bytes(DATA)
    with pytest.raises(InputError, match="data: cut off"):
        FileReader(path).read_at(0, 1 << 60)


def test_what_is_no_file_is_refused(path):
    os.mkfifo(path)
    with pytest.raises(InputError, match="data: expected a file, found a device, pipe or socket"):
        FileReader(path)
