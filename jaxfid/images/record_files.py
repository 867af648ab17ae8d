"""TFRecord and ArrayRecord files of images without a data set around them, read without TensorFlow."""

import functools
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from etils import epath
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.arrays import RandomAccess, make_position_keys
from jaxfid.images.decode import decode_image
from jaxfid.images.examples import parse_example
from jaxfid.images.formats import recognise_format
from jaxfid.images.interface import ImageSource, sample_content
from jaxfid.images.records import Fields, choose_fields, label_in
from jaxfid.images.tfrecord import TfRecords, count_records
from jaxfid.storage.files import stat_file
from jaxfid.storage.paths import RemotePath, is_remote

_SHARD = re.compile(r"-(\d{1,9})-of-(\d{1,9})")
_MOST_SHARDS = 1 << 20
"""Of more nobody needs to be told which one is missing."""
_NAME = re.compile(r"\.(?:(tfrecords?)|(array_?record))(-\d+-of-\d+)?", re.I)


def is_record_file(name: str) -> bool:
    """Whether a name is a TFRecord or ArrayRecord file's, or of one of its shards."""
    return _kind(name) is not None


def require_all_shards(folder: str, names: Iterable[str]) -> None:
    """Checks that no shard is missing of those that the names count, as `-00000-of-00002` does.

    Raises:
      InputError: One is: its images would be left out in silence.
    """
    found: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if match := _SHARD.search(name):
            others = name[: match.start()] + name[match.end() :]
            found.setdefault((others, int(match[2])), set()).add(int(match[1]))
    for (others, count), numbers in found.items():
        missing = sorted(set(range(min(count, _MOST_SHARDS))) - numbers)
        if missing:
            raise InputError(
                f"{folder}: expected {count} shards of {others}, as their names say, found {len(numbers)}; "
                f"number {missing[0]} is missing"
            )


def _kind(name: str) -> str | None:
    """`tfrecord` or `array_record`; TFDS puts the kind before or behind the number of the shard."""
    match = re.search(_NAME.pattern + "$", name, re.I)
    if match is None:
        return None
    return "tfrecord" if match[1] else "array_record"


class RecordFileSource(ImageSource):
    """The images of one file of records, in its order; a key is the position of a record.

    A record is an encoded image, or a `tf.train.Example` that holds one and, where it has one, a class.
    """

    def __init__(
        self,
        path: epath.Path,
        *,
        name: str,
        image_key: str | None = None,
        label_key: str | None = None,
    ) -> None:
        """Opens the file; raises InputError if it is damaged or its first record has no image."""
        self.name = name
        self._file = stat_file(path)
        self._records = _open_records(path, name)
        if not len(self._records):
            raise InputError(f"{name}: expected images, found no record in it")
        self.keys = make_position_keys(len(self._records))
        self.is_remote = is_remote(path)
        self._fields: Fields | None = None
        first = self._record(0)
        if recognise_format(first) is None or image_key or label_key:
            example = parse_example(first, f"{name} record 0")
            self._fields = choose_fields(example, name, image_key=image_key, label_key=label_key)
        self.read(0)

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """Classes, found by reading every record once; None where records have none."""
        if self._fields is None or self._fields.label is None:
            return None
        indices = range(len(self.keys))
        return [
            label_in(self._example(i), self._fields, f"{self.name} record {i}") for i in indices
        ]

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the decoded image of a record."""
        return decode_image(self._encoded(index), f"{self.name} record {index}")

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the image's size and a digest of its bytes; of an object its size and version."""
        version = self._file.version
        if version is not None and not whole:
            return f"{self._file.num_bytes} {version}"
        data = self._encoded(index)
        return sample_content(lambda o, n: data[o : o + n], len(data), whole=whole)

    def version(self, index: int) -> str:
        """Returns the file's modification time and inode."""
        return f"{self._file.mtime_ns} {self._file.inode}"

    def _encoded(self, index: int) -> bytes:
        if self._fields is None:
            return self._record(index)
        found = self._example(index).get(self._fields.image)
        if not isinstance(found, bytes):
            raise InputError(f"{self.name} record {index}: expected an image, found none")
        return found

    def _example(self, index: int) -> Mapping[str, object]:
        return parse_example(self._record(index), f"{self.name} record {index}")

    def _record(self, index: int) -> bytes:
        try:
            return self._records[index]
        except InputError:
            raise
        except (
            Exception
        ) as error:  # ArrayRecord's reader raises whatever a corrupt file leads it to.
            found = f"{self.name}: record {index} cannot be read: {error}"
            raise InputError(found) from error


def _open_records(path: epath.Path, name: str) -> RandomAccess:
    if _kind(path.name) == "tfrecord":
        return TfRecords([count_records(path)])
    if isinstance(path, RemotePath):
        raise InputError(
            f"{name}: an ArrayRecord file is read from this machine; copy it here first"
        )
    if importlib.util.find_spec("array_record") is None:
        raise InputError(f"{name}: needs the package array_record; pip install array_record")
    from array_record.python import array_record_data_source as array_record

    try:
        return array_record.ArrayRecordDataSource(str(path))
    except Exception as error:  # It documents no error of its own.
        raise InputError(f"{name}: expected an ArrayRecord file: {error}") from error
