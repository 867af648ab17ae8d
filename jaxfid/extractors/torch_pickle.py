"""The pickle inside a torch checkpoint, as views of storages: no torch, and nothing in it is run."""

import io
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

import numpy as np

from jaxfid.errors import InputError
from jaxfid.storage.names import shorten
from jaxfid.storage.pickles import Constructor, Rebuilt, read_pickle

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


class Storage(NamedTuple):
    """A run of numbers in the file; several tensors may be views of one."""

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Module(Rebuilt):
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


def read_views(file: io.BytesIO) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Returns the tensors by name, each a view of a storage, and the names given more than once.

    Raises:
      InputError: It is no flat dict of tensors and no TorchScript module.
    """
    content = read_pickle(file, allowed=_ALLOWED, load_persistent=_load_storage)
    if isinstance(content.value, Module):
        return dict(_tensors_of(content.value, "")), ()
    if not isinstance(content.value, dict):
        raise InputError(f"expected a dict of tensors, found {shorten(content.value)}")
    foreign = [
        f"{shorten(name)}: {type(value).__name__}"
        for name, value in content.value.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if foreign:  # a training checkpoint, with its optimizer and its epoch
        raise InputError(f"expected a dict of tensors by name, found {', '.join(foreign[:20])}")
    return content.value, tuple(map(str, content.repeated_keys))


def _tensors_of(module: Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Yields parameters and buffers by dotted path, as a state dict has them."""
    for name, value in module.attributes.items():
        # Numbers, texts and lists among the attributes are the code's, not parameters.
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Module):
            yield from _tensors_of(value, f"{prefix}{name}.")


def _load_storage(identifier: object) -> Storage:
    """`("storage", dtype, key, device, size)`; the old format adds a view, always None."""
    match identifier:
        case ("storage", np.dtype() as dtype, str(key), str(), int(size), *view) if (
            size >= 0 and view in ([], [None])
        ):
            return Storage(key, dtype, size)
    raise InputError("a persistent id is no storage as torch.save writes them")


def _rebuild_tensor(
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    requires_grad: object = False,
    backward_hooks: object = None,
    metadata: object = None,
) -> Tensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`; what concerns gradients is dropped.

    A view may not hold more elements than its storage: an expanded dimension (stride 0) would let
    a few bytes ask for any amount of memory.
    """
    if not (isinstance(storage, Storage) and _is_size(offset) and not metadata):
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
    return Tensor(storage, offset, shape, strides)


def _is_size(size: object) -> TypeGuard[int]:
    return type(size) is int and size >= 0


def _is_sizes(sizes: object) -> TypeGuard[tuple[int, ...]]:
    return type(sizes) is tuple and len(sizes) <= _MAX_DIMENSIONS and all(map(_is_size, sizes))


class _Globals(dict[str, object]):
    """What a torch pickle may name: the table below, and any class of a TorchScript archive."""

    def __missing__(self, name: str) -> object:
        # The archive's own classes: their code lies beside and is never looked at.
        if name.startswith("__torch__."):
            return Constructor(Module)
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
