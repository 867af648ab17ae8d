"""Records of TFRecord files at any position, without TensorFlow."""

import bisect
import itertools
import os
import struct
import threading
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from jaxfid.errors import InputError
from jaxfid.images.crc32c import crc32c, unmask_crc
from jaxfid.storage.files import open_file, reading
from jaxfid.storage.paths import as_path
from jaxfid.storage.random_access import FileReader

_HEADER = struct.Struct("<QI")  # Length of the record, checksum of the length.
_FOOTER = struct.Struct("<I")  # Checksum of the record.
_LENGTH_BYTES = 8


class Shard(NamedTuple):
    """A run of records of one file, with the names that TFDS and array_record give its parts.

    Attributes:
      filename: The file.
      skip: Records before the run.
      take: Records of the run.
      examples_in_shard: Records of the whole file, by the data set's own description.
    """

    filename: str
    skip: int
    take: int
    examples_in_shard: int


def count_records(path: epath.Path) -> Shard:
    """Returns a whole file as one run, its records counted; InputError where it is damaged."""
    count = len(_find_records(path))
    return Shard(str(path), 0, count, count)


class TfRecords:
    """The records of some shards, one after another, each read on its own and from any thread.

    TFRecord has no index: a file's is made when the first of its records is read, from the lengths that
    stand before the records. Checksums are compared, of lengths then and of records as they are read; a
    file cut off, or with another number of records than described, is found.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Takes the shards, and opens none."""
        self._shards = shards
        self._ends = list(itertools.accumulate(shard.take for shard in shards))
        self._files: list[_IndexedFile | None] = [None] * len(shards)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> bytes:
        number = bisect.bisect_right(self._ends, index)
        shard = self._shards[number]
        first = self._ends[number] - shard.take
        return self._file(number).read_record(index - first + shard.skip)

    def _file(self, number: int) -> "_IndexedFile":
        with self._lock:
            if (file := self._files[number]) is None:
                shard = self._shards[number]
                file = self._files[number] = _IndexedFile(shard)
            return file


class _IndexedFile:
    """A TFRecord file whose records' places are known."""

    def __init__(self, shard: Shard) -> None:
        self._reader = FileReader(as_path(shard.filename))
        self._places = _find_records(self._reader.path)
        if len(self._places) != shard.examples_in_shard:
            raise InputError(
                f"{shard.filename}: expected {shard.examples_in_shard} records, found "
                f"{len(self._places)}; the file is not the one that the data set describes"
            )

    def read_record(self, position: int) -> bytes:
        offset, length = self._places[position]
        data = self._reader.read_at(offset, length + _FOOTER.size)
        record = data[:length]
        if unmask_crc(*_FOOTER.unpack_from(data, length)) != crc32c(record):
            raise InputError(
                f"{self._reader.path}: corrupt, the checksum of record {position} does not fit"
            )
        return record


def _find_records(path: epath.Path) -> list[tuple[int, int]]:
    """Offset and length of every record."""
    places, offset = [], 0
    # As a file, which of an object reads ahead: one request for each header would take for ever.
    with open_file(path, buffering=0) as file, reading(path):
        num_bytes = file.seek(0, os.SEEK_END)
        while offset < num_bytes:
            file.seek(offset)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                break
            length, masked = _HEADER.unpack(header)
            if unmask_crc(masked) != crc32c(header[:_LENGTH_BYTES]):
                raise InputError(
                    f"{path}: corrupt, the checksum of a record's length does not fit, at byte {offset}"
                )
            places.append((offset + _HEADER.size, length))
            offset += _HEADER.size + length + _FOOTER.size
    if offset != num_bytes:
        raise InputError(f"{path}: expected a whole TFRecord file, found one cut off")
    return places
