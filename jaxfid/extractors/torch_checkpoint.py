"""Reads the tensors of a torch checkpoint into NumPy, without torch and without running its pickle.

Three formats: the sequential one of before torch 1.6 (five pickles, then the raw storages), the zip
archive that followed it, and TorchScript's archive, whose modules are read as nested dicts and whose
code is not looked at. A tensor is a view of a storage by offset, shape and strides; all of them are
checked against the storage before NumPy sees them.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeGuard

import numpy as np

from jaxfid.errors import InputError
from jaxfid.storage.names import shorten
from jaxfid.storage.pickles import Constructor, Rebuilt, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_ZIP_SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: lengths of its name and extra field
# What the standard library raises for damaged archives, by position of the damage.
_ZIP_FAULTS = (
    *(zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, struct.error),
    *(zlib.error, OverflowError, ValueError, LookupError, RuntimeError),
)
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
_MAX_DIMENSIONS = 32
_MAX_EXTENT_BYTES = 1 << 48  # of dimensions beside one of size 0; NumPy's own sums overflow later


class TorchTensors(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      tensors: Arrays by name, in file order, read-only views of the file's bytes.
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


class _Module(Rebuilt):
    """A TorchScript module: its attributes, tensors and modules among them."""

    def __init__(self) -> None:
        self.attributes: dict[object, object] = {}

    def set_state(self, state: object) -> None:
        """Takes the attributes."""
        if not isinstance(state, dict):
            raise InputError(f"expected the attributes of a module, found {shorten(state)}")
        self.attributes = state

    def parts(self) -> Sequence[object]:
        """Returns the attributes' values, for the bounds on the whole tree."""
        return list(self.attributes.values())


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
    views, repeated = _read_views(file)
    keys = read_pickle(file, allowed={}).value
    starts = _find_storages(data, file.tell(), keys, _storages(views))

    def read_storage(storage: _Storage) -> np.ndarray:
        return _numbers(data, storage, starts[storage.key])

    return TorchTensors(_make_arrays(views, read_storage), repeated)


def _read_magic(file: io.BytesIO) -> object:
    try:
        return read_pickle(file, allowed={}).value
    except InputError:
        return None


def _numbers(data: bytes, storage: _Storage, start: int) -> np.ndarray:
    if not storage.size:  # NumPy refuses a view of nothing at the very end
        return np.empty(0, storage.dtype)
    return np.frombuffer(data, storage.dtype, storage.size, start)


def _find_storages(
    data: bytes, position: int, keys: object, storages: Mapping[str, _Storage]
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
        if count != storage.size:
            raise InputError(f"storage {key:.40}: {storage.size} numbers declared, {count} found")
    return starts


def _parse_zip(data: bytes) -> TorchTensors:
    """`NAME/data.pkl` is the object, `NAME/data/KEY` a storage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        root = _find_root(archive)
        views, repeated = _read_views(io.BytesIO(archive.read(root + "data.pkl")))
        starts = {
            key: _find_member(archive, data, root, storage)
            for key, storage in _storages(views).items()
        }

    def read_storage(storage: _Storage) -> np.ndarray:
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


def _find_member(archive: zipfile.ZipFile, data: bytes, root: str, storage: _Storage) -> int:
    """The byte at which a storage's numbers start, once its size and checksum are right."""
    name = f"{root}data/{storage.key}"
    if name not in archive.NameToInfo:
        raise InputError(f"storage {storage.key:.40} is missing from the archive")
    member = archive.getinfo(name)
    expected = storage.size * storage.dtype.itemsize
    if member.file_size != expected:
        raise InputError(
            f"storage {storage.key:.40}: expected {expected} bytes, found {member.file_size}"
        )
    with archive.open(member):
        pass  # which compares the name at the member's own place with that in the list
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data, member.header_offset)
    start = member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    numbers = memoryview(data)[start : start + expected]
    if len(numbers) < expected or zlib.crc32(numbers) != member.CRC:
        raise InputError(f"storage {storage.key:.40}: corrupt, its checksum does not fit")
    return start


def _read_views(file: io.BytesIO) -> tuple[dict[str, _Tensor], tuple[str, ...]]:
    content = read_pickle(file, allowed=_ALLOWED, load_persistent=_load_storage)
    if isinstance(content.value, _Module):
        return dict(_tensors_of(content.value, "")), ()
    if not isinstance(content.value, dict):
        raise InputError(f"expected a dict of tensors, found {shorten(content.value)}")
    foreign = [
        f"{shorten(name)}: {type(value).__name__}"
        for name, value in content.value.items()
        if not (isinstance(name, str) and isinstance(value, _Tensor))
    ]
    if foreign:
        raise InputError(f"expected a dict of tensors by name, found {', '.join(foreign[:20])}")
    return content.value, tuple(map(str, content.repeated_keys))


def _tensors_of(module: _Module, prefix: str) -> Iterator[tuple[str, _Tensor]]:
    """Yields parameters and buffers by dotted path, as a state dict has them."""
    for name, value in module.attributes.items():
        if isinstance(value, _Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _tensors_of(value, f"{prefix}{name}.")


def _storages(views: Mapping[str, _Tensor]) -> dict[str, _Storage]:
    """The storages by key; one key stands for one storage."""
    storages: dict[str, _Storage] = {}
    for name, view in views.items():
        if storages.setdefault(view.storage.key, view.storage) != view.storage:
            raise InputError(f"{name:.80}: storage {view.storage.key:.40} is declared in two ways")
    return storages


def _make_arrays(
    views: Mapping[str, _Tensor], read_storage: Callable[[_Storage], np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: _make_array(view, read_storage(view.storage)) for name, view in views.items()}


def _make_array(view: _Tensor, storage: np.ndarray) -> np.ndarray:
    itemsize = storage.dtype.itemsize
    if 0 in view.shape:
        return np.empty(view.shape, storage.dtype)
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
    if not (_is_sizes(shape) and _is_sizes(strides) and len(shape) == len(strides)):
        raise InputError(f"storage {storage.key:.40}: a tensor of no shape or strides")
    count = math.prod(shape)
    # Of a dimension of one element no stride is ever taken: it may be any number.
    strides = tuple(s if n > 1 else 0 for n, s in zip(shape, strides, strict=True))
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n)
    extent = math.prod(max(n, 1) for n in shape) * storage.dtype.itemsize
    if (
        count > storage.size
        or (count and last >= storage.size)
        or offset > storage.size
        or extent >= _MAX_EXTENT_BYTES
    ):
        raise InputError(
            f"storage {storage.key:.40} holds {storage.size} numbers; a tensor of shape "
            f"({', '.join(map(shorten, shape))}), strides ({', '.join(map(shorten, strides))}) and "
            f"offset {shorten(offset)} reads beyond them"
        )
    return _Tensor(storage, offset, shape, strides)


def _is_size(size: object) -> TypeGuard[int]:
    return type(size) is int and size >= 0


def _is_sizes(sizes: object) -> TypeGuard[tuple[int, ...]]:
    return type(sizes) is tuple and len(sizes) <= _MAX_DIMENSIONS and all(map(_is_size, sizes))


class _Globals(dict[str, object]):
    """What a torch pickle may name: the table below, and any class of a TorchScript archive."""

    def __missing__(self, name: str) -> object:
        if name.startswith("__torch__."):
            return Constructor(_Module)
        raise KeyError(name)


def _nothing(*_: object) -> None:
    """Stands in for what TorchScript makes lists of numbers with; no parameter is one."""


_ALLOWED = _Globals(
    {
        "collections.OrderedDict": Constructor(lambda: {}),
        "torch._utils._rebuild_tensor_v2": Constructor(_rebuild_tensor),
        **{name: np.dtype(dtype) for name, dtype in _STORAGE_DTYPES.items()},
        **{
            f"torch.jit._pickle.{name}": Constructor(_nothing)
            for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
        },
        "torch.jit._pickle.restore_type_tag": Constructor(lambda value, _type: value),
    }
)
