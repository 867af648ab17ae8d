"""Reads the tensors of a torch checkpoint into NumPy, without torch and without running its pickle.

Three formats: the sequential one of before torch 1.6 (five pickles, then the raw storages), the zip
archive that followed it, and TorchScript's archive, whose modules are read as nested dicts and whose
code is not looked at. A tensor is a view of a storage by offset, shape and strides; all of them are
checked against the storage before NumPy sees them.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jaxfid.errors import InputError
from jaxfid.extractors.torch_pickle import Storage, Tensor, read_views
from jaxfid.storage.names import shorten
from jaxfid.storage.pickles import read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_ZIP_SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: lengths of its name and extra field
# What the standard library raises for damaged archives, by position of the damage.
_ZIP_FAULTS = (
    *(zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, struct.error),
    *(zlib.error, OverflowError, ValueError, LookupError, RuntimeError),
)


class TorchTensors(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      tensors: Arrays by name, in file order, read-only views of the file's bytes.
      repeated: Names given more than once; `tensors` has the last.
    """

    tensors: dict[str, np.ndarray]
    repeated: tuple[str, ...]


def parse_torch(data: bytes) -> TorchTensors:
    """Returns the tensors of a checkpoint that is one flat dict of them, or a TorchScript archive.

    Args:
      data: All bytes of the file; the tensors are views of them.

    Raises:
      InputError: It is damaged or no torch checkpoint; its pickle asks for anything but tensors in
        a dict; a view leaves its storage. The message lacks the file's name.
    """
    if not data.startswith(_ZIP_SIGNATURE):
        return _parse_sequential(data)
    try:
        return _parse_zip(data)
    except InputError:
        raise
    except _ZIP_FAULTS as error:
        raise InputError(f"damaged or truncated zip archive: {error}") from error


def _parse_sequential(data: bytes) -> TorchTensors:
    """Magic number, protocol version, system, object, storage keys; then each storage."""
    file = io.BytesIO(data)  # shares the bytes, and so do the arrays
    if _read_magic(file) != _MAGIC:
        raise InputError(
            "expected a checkpoint written by torch.save, found neither its magic number nor a "
            "zip archive (a broken download, or another kind of file?)"
        )
    version = read_pickle(file, allowed={}).value
    if version != _PROTOCOL_VERSION:
        raise InputError(f"expected torch's protocol {_PROTOCOL_VERSION}, found {shorten(version)}")
    read_pickle(file, allowed={})  # of the system that wrote it; storages are little-endian always
    views, repeated = read_views(file)
    keys = read_pickle(file, allowed={}).value
    starts = _find_storages(data, file.tell(), keys, _storages(views))

    def read_storage(storage: Storage) -> np.ndarray:
        return _numbers(data, storage, starts[storage.key])

    return TorchTensors(_make_arrays(views, read_storage), repeated)


def _read_magic(file: io.BytesIO) -> object:
    try:
        return read_pickle(file, allowed={}).value
    except InputError:
        return None


def _numbers(data: bytes, storage: Storage, start: int) -> np.ndarray:
    if not storage.size:  # NumPy refuses a view of nothing at the very end
        return np.empty(0, storage.dtype)
    return np.frombuffer(data, storage.dtype, storage.size, start)


def _find_storages(
    data: bytes, position: int, keys: object, storages: Mapping[str, Storage]
) -> dict[str, int]:
    """Byte at which each storage's numbers start: they follow each other, each after its count."""
    if not isinstance(keys, list) or sorted(map(shorten, keys)) != sorted(map(shorten, storages)):
        raise InputError("the list of storages does not agree with those the tensors refer to")
    starts = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(data[position : position + 8], "little", signed=True)
        starts[storage.key] = position + 8
        position += 8 + storage.size * storage.dtype.itemsize
        if position > len(data):
            raise InputError(
                f"truncated: storage {key:.40} ends beyond the file's {len(data)} bytes"
            )
        # The format says each size twice; where they differ, all that follow are misplaced.
        if count != storage.size:
            raise InputError(f"storage {key:.40}: {storage.size} numbers declared, {count} found")
    return starts


def _parse_zip(data: bytes) -> TorchTensors:
    """`NAME/data.pkl` is the object, `NAME/data/KEY` a storage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        root = _find_root(archive)
        views, repeated = read_views(io.BytesIO(archive.read(root + "data.pkl")))
        starts = {
            key: _find_member(archive, data, root, storage)
            for key, storage in _storages(views).items()
        }

    def read_storage(storage: Storage) -> np.ndarray:
        return _numbers(data, storage, starts[storage.key])

    return TorchTensors(_make_arrays(views, read_storage), repeated)


def _find_root(archive: zipfile.ZipFile) -> str:
    """The folder all members lie in, once the archive is seen to be as `torch.save` makes it."""
    names = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1 or len(set(names)) != len(names):
        raise InputError("expected torch's zip archive with one data.pkl and no name twice")
    # Compressed or overlapping members could unpack to any size; torch writes neither, but for the code of a
    # TorchScript archive, which is never read.
    code = f"{roots[0]}code/"
    members = [member for member in archive.infolist() if not member.filename.startswith(code)]
    if any(
        member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members
    ):
        raise InputError("expected torch's zip archive, found compressed or encrypted members")
    if sum(member.file_size for member in members) > archive.start_dir:
        raise InputError("expected torch's zip archive, found members that overlap")
    if (order := _byte_order(archive, roots[0])) != "little":
        raise InputError(f"expected little-endian storages, found {order!r:.40}")
    return roots[0]


def _byte_order(archive: zipfile.ZipFile, root: str) -> str:
    """What the archive says of itself; those from before torch 2.1 say nothing."""
    name = f"{root}byteorder"
    return archive.read(name).decode("latin-1") if name in archive.namelist() else "little"


def _find_member(archive: zipfile.ZipFile, data: bytes, root: str, storage: Storage) -> int:
    """The byte at which a storage's numbers start, once its size and checksum are right."""
    name = f"{root}data/{storage.key}"
    if name not in archive.NameToInfo:
        raise InputError(f"storage {storage.key:.40} is missing from the archive")
    member = archive.getinfo(name)
    expected = storage.size * storage.dtype.itemsize
    if member.file_size != expected:  # before a view is made of bytes that belong to a neighbour
        raise InputError(
            f"storage {storage.key:.40}: expected {expected} bytes, found {member.file_size}"
        )
    with archive.open(member):
        pass  # which compares the name at the member's own place with that in the list
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data, member.header_offset)
    start = member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    # A view: the checksum of a gigabyte makes no copy of it.
    numbers = memoryview(data)[start : start + expected]
    if len(numbers) < expected or zlib.crc32(numbers) != member.CRC:
        raise InputError(f"storage {storage.key:.40}: corrupt, its checksum does not fit")
    return start


def _storages(views: Mapping[str, Tensor]) -> dict[str, Storage]:
    """The storages by key; one key stands for one storage."""
    storages: dict[str, Storage] = {}
    for name, view in views.items():
        if storages.setdefault(view.storage.key, view.storage) != view.storage:
            raise InputError(f"{name:.80}: storage {view.storage.key:.40} is declared in two ways")
    return storages


def _make_arrays(
    views: Mapping[str, Tensor], read_storage: Callable[[Storage], np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: _make_array(view, read_storage(view.storage)) for name, view in views.items()}


def _make_array(view: Tensor, storage: np.ndarray) -> np.ndarray:
    itemsize = storage.dtype.itemsize
    if 0 in view.shape:  # its strides may be any numbers, and NumPy would check them
        return np.empty(view.shape, storage.dtype)
    strides = tuple(stride * itemsize for stride in view.strides)
    array = np.ndarray(view.shape, storage.dtype, storage.data, view.offset * itemsize, strides)
    array.flags.writeable = False
    return array
