"""Pickled arrays of other tools, as a flat table. Nothing that a pickle names is imported or run.

Real NumPy constructors are not given to the pickle either: a forged state makes them read outside
their memory. Functions of ours only write down what an array was made of.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxfid.errors import InputError
from jaxfid.storage.names import shorten
from jaxfid.storage.pickles import Constructor, Rebuilt, read_pickle
from jaxfid.storage.streams import ByteReader

_DTYPE_CODE = re.compile(r"[<>|=]?([fiu][248]|[iub]1)")
_OBJECTS = re.compile(r"[|]?O[48]?")

Leaf = np.ndarray | str | bytes | int | float | bool | None


def read_pickled(stream: ByteReader) -> dict[str, Leaf]:
    """Returns the leaves of a pickled tree by their paths.

    `/` goes into a dict and `[0]` into a list or tuple: `fid/mu`, `[1]`.

    Args:
      stream: A file opened to read bytes, at the start of the pickle.

    Raises:
      InputError: Damaged, or it asks for anything that is not a plain container or a NumPy array.
    """
    tree = read_pickle(stream, allowed=_ALLOWED).value
    return dict(_leaves(tree, ""))


def _leaves(tree: object, path: str) -> list[tuple[str, Leaf]]:
    """The reader has bounded the tree's depth and size, so that it may be walked."""
    if isinstance(tree, _Array):
        tree = tree.content()
    if isinstance(tree, dict):
        prefix = f"{path}/" if path else ""
        # Numbers as keys name nothing that is looked for.
        items = [(f"{prefix}{key}", item) for key, item in tree.items() if type(key) is str]
    elif isinstance(tree, list | tuple):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(tree)]
    elif tree is None or isinstance(tree, np.ndarray | str | bytes | int | float):
        return [(path, tree)]
    else:
        return []  # a dtype, or the class of arrays
    return [leaf for name, item in items for leaf in _leaves(item, name)]


class _DType(Rebuilt):
    """A dtype as it was pickled: code and, as its state, byte order."""

    def __init__(self, code: object, *_flags: object) -> None:
        if not isinstance(code, str) or not (
            _DTYPE_CODE.fullmatch(code) or _OBJECTS.fullmatch(code)
        ):
            raise InputError(f"expected arrays of numbers, found dtype {shorten(code)}")
        self.holds_objects = "O" in code
        self._code = code

    def set_state(self, state: object) -> None:
        """Takes the byte order; the rest of a plain dtype's state says nothing more."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise InputError(f"expected the byte order of a dtype, found {shorten(order)}")
        # The code's last two characters are kind and size; what stands before is an order.
        if not self.holds_objects:
            self._code = order + self._code[-2:]

    def read(self, data: object) -> np.ndarray:
        """Returns the numbers in the bytes; a pickle of Python 2 has them as text."""
        if isinstance(data, str):
            data = data.encode("latin1")
        if not isinstance(data, bytes | bytearray) or self.holds_objects:
            raise InputError(f"expected arrays of numbers, found {shorten(data)}")
        return np.frombuffer(data, np.dtype(self._code))


@dataclasses.dataclass
class _Array(Rebuilt):
    """An array as it was pickled; its state comes after it."""

    values: np.ndarray | None = None
    objects: list | None = None

    def set_state(self, state: object) -> None:
        """Takes shape, type, order and numbers."""
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _DType):
            raise InputError("expected the state of an array, found something else")
        # As `ndarray.__reduce__` documents it. The version says nothing that is needed.
        _version, shape, dtype, is_fortran, data = state
        if dtype.holds_objects:
            self.objects = data if isinstance(data, list) else None
        else:
            self.values = _reshape(dtype.read(data), shape, "F" if is_fortran else "C")

    def parts(self) -> Sequence[object]:
        """Returns the objects of an array of such, for the bounds on the whole tree."""
        return self.objects or ()

    def content(self) -> object:
        """Returns the array; of one that wraps a single object (`np.save` of a dict), the object."""
        if self.objects is None:
            return self.values
        if len(self.objects) != 1:
            raise InputError("expected arrays of numbers, found one of Python objects")
        return self.objects[0]


def _reshape(values: np.ndarray, shape: object, order: Literal["C", "F"]) -> np.ndarray:
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise InputError(f"expected the shape of an array, found {shorten(shape)}")
    return values.reshape(shape, order=order)


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    if not isinstance(dtype, _DType) or order not in ("C", "F"):
        raise InputError("expected an array's buffer, type, shape and order, found something else")
    return _Array(_reshape(dtype.read(data), shape, "F" if order == "F" else "C"))


def _scalar(dtype: object, data: object) -> _Array:
    if not isinstance(dtype, _DType):
        raise InputError("expected a number's type and bytes, found something else")
    return _Array(_reshape(dtype.read(data), (), "C"))


def _encode(text: object, encoding: object) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise InputError("expected bytes written as latin-1 text, found something else")
    return text.encode("latin1")


_NUMPY = {
    "multiarray._reconstruct": Constructor(lambda *_: _Array()),
    "multiarray.scalar": Constructor(_scalar),
    "numeric._frombuffer": Constructor(_from_buffer),
}
_ALLOWED = {
    # NumPy 2 renamed its core; files of both are around.
    **{f"{core}.{name}": f for core in ("numpy.core", "numpy._core") for name, f in _NUMPY.items()},
    "numpy.dtype": Constructor(_DType),
    "numpy.ndarray": None,  # an argument of _reconstruct
    "_codecs.encode": Constructor(_encode),
    "dnnlib.util.EasyDict": Constructor(lambda: {}),
    "collections.OrderedDict": Constructor(lambda: {}),
}
