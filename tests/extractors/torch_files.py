"""Writes what `torch.save` writes, byte by byte, and what an attacker might write instead."""

import dataclasses
import pathlib
import struct
import zipfile

import numpy as np

STORAGE_TYPES = {"float32": "FloatStorage", "int64": "LongStorage", "float64": "DoubleStorage"}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + b"R"


def dict_of(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def pickle_of(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


ORDERED_DICT = call(named("collections", "OrderedDict"))


@dataclasses.dataclass
class View:
    """A tensor to write: a view, in elements, of a storage."""

    storage: np.ndarray
    key: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    declared_size: int | None = None

    def pickled(self, *, in_zip: bool = False, more: bytes = b"") -> bytes:
        storage = tuple_of(
            text("storage"),
            named("torch", STORAGE_TYPES[self.storage.dtype.name]),
            text(self.key),
            text("cpu"),
            integer(self.storage.size if self.declared_size is None else self.declared_size),
            b"" if in_zip else b"N",
        )
        return call(
            named("torch._utils", "_rebuild_tensor_v2"),
            storage + b"Q",
            integer(self.offset),
            tuple_of(*map(integer, self.shape)),
            tuple_of(*map(integer, self.strides)),
            b"\x89",
            ORDERED_DICT,
            more,
        )


def plain(array: np.ndarray, key: str) -> View:
    """A view that is the whole of its storage, its axes in whatever order they lie in memory."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return View(array.ravel(order="K"), key, array.shape, strides)


def object_of(views: dict[str, View], *, in_zip: bool = False) -> bytes:
    return dict_of(*((text(name), view.pickled(in_zip=in_zip)) for name, view in views.items()))


def write_sequential(
    path: pathlib.Path, views: dict[str, View], *, body: bytes | None = None
) -> pathlib.Path:
    """The old format; `body` replaces the pickled object, the storages stay."""
    storages = {view.key: view.storage for view in views.values()}
    magic = integer(0x1950A86A20F9469CFC6C)
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    system = dict_of((text("little_endian"), b"\x88"))
    parts = [magic, integer(1001), system, object_of(views) if body is None else body, keys]
    raw = [struct.pack("<q", data.size) + data.tobytes() for data in storages.values()]
    path.write_bytes(b"".join([*map(pickle_of, parts), *raw]))
    return path


def write_zip(
    path: pathlib.Path, views: dict[str, View], *, body: bytes | None = None, **members: bytes
) -> pathlib.Path:
    """The zip format; `members` replace or add entries of the archive."""
    entries = {
        "data.pkl": pickle_of(object_of(views, in_zip=True) if body is None else body),
        "byteorder": b"little",
        **{f"data/{view.key}": view.storage.tobytes() for view in views.values()},
        "version": b"3\n",
        **members,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return path


WRITERS = {"sequential": write_sequential, "zip": write_zip}
