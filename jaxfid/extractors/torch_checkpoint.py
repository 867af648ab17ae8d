"""Reads the tensors of a torch checkpoint into NumPy, without torch and without running its pickle.

Both of `torch.save`'s formats: the sequential one of before torch 1.6 (five pickles, then the raw
storages) and the zip archive that followed it. A tensor is a view of a storage by offset, shape
and strides; all of them are checked against the storage before NumPy sees them.
"""

import io
import math
import mmap
import pathlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeGuard

import numpy as np

from jaxfid.errors import InputError
from jaxfid.storage.pickles import Constructor, read_pickle
from jaxfid.storage.streams import ByteReader

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_ZIP_SIGNATURE = b"PK\x03\x04"
# What the standard library raises for damaged archives, by position of the damage.
_ZIP_FAULTS = (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, struct.error)
_STORAGE_DTYPES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
}


class TorchTensors(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      tensors: Arrays by name, in file order, read-only views of the file where it allows that.
      repeated: Names given more than once; `tensors` has the last.
    """

    tensors: dict[str, np.ndarray]
    repeated: tuple[str, ...]


class _Storage(NamedTuple):
    """A run of numbers in the file; several tensors may be views of one."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_tensors(path: pathlib.Path) -> TorchTensors:
    """Returns the tensors of a checkpoint that is one flat dict of them, as a state dict is.

    Raises:
      InputError: The file is missing, damaged or no torch checkpoint; its pickle asks for anything
        but tensors in a dict; a view leaves its storage.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP_SIGNATURE)) == _ZIP_SIGNATURE
            file.seek(0)
            return _read_zip(file) if is_zip else _read_sequential(file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except _ZIP_FAULTS as error:
        raise InputError(f"{path}: damaged or truncated zip archive: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _read_sequential(file: ByteReader) -> TorchTensors:
    """Magic number, protocol version, system, object, storage keys; then each storage."""
    if _read_magic(file) != _MAGIC:
        raise InputError(
            "expected a checkpoint written by torch.save, found neither its magic number nor a "
            "zip archive (a broken download, or another kind of file?)"
        )
    version = read_pickle(file, allowed={}).value
    if version != _PROTOCOL_VERSION:
        raise InputError(f"expected torch's protocol {_PROTOCOL_VERSION}, found {version!r:.40}")
    read_pickle(file, allowed={})  # of the system that wrote it; storages are little-endian always
    views, repeated = _read_views(file)
    keys = read_pickle(file, allowed={}).value
    buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    starts = _find_storages(buffer, file.tell(), keys, _storages(views))

    def read_storage(storage: _Storage) -> np.ndarray:
        return np.frombuffer(buffer, storage.dtype, storage.size, starts[storage.key])

    return TorchTensors(_make_arrays(views, read_storage), repeated)


def _read_magic(file: ByteReader) -> object:
    try:
        return read_pickle(file, allowed={}).value
    except InputError:
        return None


def _find_storages(
    buffer: mmap.mmap, position: int, keys: object, storages: Mapping[str, _Storage]
) -> dict[str, int]:
    """Byte at which each storage's numbers start: they follow each other, each after its count."""
    if type(keys) is not list or sorted(map(str, keys)) != sorted(storages):
        raise InputError("the list of storages does not agree with those the tensors refer to")
    starts = {}
    for key in keys:
        storage = storages[str(key)]
        count = int.from_bytes(buffer[position : position + 8], "little", signed=True)
        starts[storage.key] = position + 8
        position += 8 + storage.size * storage.dtype.itemsize
        if position > len(buffer):
            raise InputError(f"truncated: storage {key} ends beyond the file's {len(buffer)} bytes")
        if count != storage.size:
            raise InputError(f"storage {key}: {storage.size} numbers declared, {count} found")
    return starts


def _read_zip(file: ByteReader) -> TorchTensors:
    """`NAME/data.pkl` is the object, `NAME/data/KEY` a storage."""
    with zipfile.ZipFile(file) as archive:
        root = _find_root(archive)
        views, repeated = _read_views(io.BytesIO(archive.read(root + "data.pkl")))
        storages = _storages(views)
        arrays = {key: _read_member(archive, root, storage) for key, storage in storages.items()}
    return TorchTensors(_make_arrays(views, lambda storage: arrays[storage.key]), repeated)


def _find_root(archive: zipfile.ZipFile) -> str:
    """The folder all members lie in, once the archive is seen to be as `torch.save` makes it."""
    names = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1 or len(set(names)) != len(names):
        raise InputError("expected torch's zip archive with one data.pkl and no name twice")
    # Compressed or overlapping members could unpack to any size; torch writes neither.
    members = archive.infolist()
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


def _read_member(archive: zipfile.ZipFile, root: str, storage: _Storage) -> np.ndarray:
    name = f"{root}data/{storage.key}"
    if name not in archive.namelist():
        raise InputError(f"storage {storage.key} is missing from the archive")
    expected = storage.size * storage.dtype.itemsize
    found = archive.getinfo(name).file_size
    if found != expected:
        raise InputError(f"storage {storage.key}: expected {expected} bytes, found {found}")
    return np.frombuffer(archive.read(name), storage.dtype)


def _read_views(file: ByteReader) -> tuple[dict[str, _Tensor], tuple[str, ...]]:
    content = read_pickle(file, allowed=_ALLOWED, load_persistent=_load_storage)
    if not isinstance(content.value, dict):
        found = type(content.value).__name__
        raise InputError(f"expected a dict of tensors, found a {found}")
    foreign = [
        f"{name!r:.80}: {type(value).__name__}"
        for name, value in content.value.items()
        if not (isinstance(name, str) and isinstance(value, _Tensor))
    ]
    if foreign:
        raise InputError(f"expected a dict of tensors by name, found {', '.join(foreign)}")
    return content.value, tuple(map(str, content.repeated_keys))


def _storages(views: Mapping[str, _Tensor]) -> dict[str, _Storage]:
    """The storages by key; one key stands for one storage."""
    storages: dict[str, _Storage] = {}
    for name, view in views.items():
        if storages.setdefault(view.storage.key, view.storage) != view.storage:
            raise InputError(f"{name}: storage {view.storage.key} is declared in two ways")
    return storages


def _make_arrays(
    views: Mapping[str, _Tensor], read_storage: Callable[[_Storage], np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: _make_array(view, read_storage(view.storage)) for name, view in views.items()}


def _make_array(view: _Tensor, storage: np.ndarray) -> np.ndarray:
    itemsize = storage.dtype.itemsize
    strides = tuple(stride * itemsize for stride in view.strides)
    array = np.ndarray(view.shape, storage.dtype, storage.data, view.offset * itemsize, strides)
    array.flags.writeable = False
    return array


def _load_storage(identifier: object) -> _Storage:
    """`("storage", dtype, key, device, size)`; the old format adds a view, always None."""
    match identifier:
        case ("storage", np.dtype() as dtype, str(key), str(), int(size), *view) if (
            size >= 0 and view in ([], [None])
        ):
            return _Storage(key, dtype, size)
    raise InputError("a persistent id is no storage as torch.save writes them")


def _rebuild_tensor(
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    requires_grad: object = False,
    backward_hooks: object = None,
    metadata: object = None,
) -> _Tensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`; what concerns gradients is dropped.

    A view may not hold more elements than its storage: an expanded dimension (stride 0) would let
    a few bytes ask for any amount of memory.
    """
    if not (isinstance(storage, _Storage) and _is_size(offset) and not metadata):
        raise InputError("a tensor is not rebuilt from a storage, an offset, a shape and strides")
    if not (_is_sizes(shape) and _is_sizes(strides) and len(shape) == len(strides) <= 32):
        raise InputError(
            f"storage {storage.key}: a tensor of shape {shape!r:.80} and strides {strides!r:.80}"
        )
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    count = math.prod(shape)
    if count > storage.size or (count and last >= storage.size) or offset > storage.size:
        raise InputError(
            f"storage {storage.key} holds {storage.size} numbers; a tensor of shape {shape}, "
            f"strides {strides} and offset {offset} reads beyond them"
        )
    return _Tensor(storage, offset, shape, strides)


def _is_size(size: object) -> TypeGuard[int]:
    return type(size) is int and size >= 0


def _is_sizes(sizes: object) -> TypeGuard[tuple[int, ...]]:
    return type(sizes) is tuple and all(map(_is_size, sizes))


_ALLOWED = {
    "collections.OrderedDict": Constructor(lambda: {}),
    "torch._utils._rebuild_tensor_v2": Constructor(_rebuild_tensor),
    **{name: np.dtype(dtype) for name, dtype in _STORAGE_DTYPES.items()},
}
