"""Reads the arrays of a pickled statistics file. Nothing that the pickle names is imported or run.

`pickle` splits the bytes; each name that it asks for is answered from the table below, with
functions of ours that only write down what the array was made of. Real NumPy constructors are not
given to it either: a forged state makes them read outside their memory.
"""

import dataclasses
import pickle
import re
from collections.abc import Callable, Collection
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np

from jaxfid.errors import InputError

_DTYPE_CODE = re.compile(r"[<>|=]?([fiu][248]|[iub]1)")


def read_pickled(stream: BinaryIO, wanted: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Returns the wanted leaves of a pickled dict or tuple, and the names at its top.

    Args:
      stream: A file opened to read bytes.
      wanted: Paths of leaves, such as `fid/mu`, or `[0]` of a tuple. Those that are missing are
        missing in what comes back. Arrays and NumPy scalars come as NumPy arrays, other leaves as
        they are.

    Raises:
      InputError: Damaged, or it asks for anything that is not a plain container or a NumPy array.
    """
    try:
        tree = _Unpickler(stream).load()
    except InputError:
        raise
    except Exception as error:  # damaged bytes make pickle raise whatever they happen to hit
        raise InputError(f"damaged or truncated pickle: {error!r}") from error
    leaves = {path: _look_up(tree, path.split("/")) for path in wanted}
    found = {path: leaf for path, leaf in leaves.items() if leaf is not _MISSING}
    return found, [str(name) for name in _as_dict(tree)]


class _Unpickler(pickle._Unpickler):
    """Answers names from the table only.

    The Python version: a pickle of ten bytes makes the one in C claim 30 GB for its memo.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")

    def find_class(self, module: str, name: str) -> object:
        key = f"{module.replace('numpy.core.', 'numpy._core.')}.{name}"
        if key not in _ALLOWED:
            raise InputError(
                f"the pickle asks for {module}.{name}; expected plain containers of NumPy arrays. "
                "Write mu and sigma to an .npz file with the tool that made it"
            )
        return _ALLOWED[key]


class _Function:
    """Something that a pickle may call and cannot alter."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise InputError("the pickle tries to alter a function")


class _DType:
    """A dtype as it was pickled: code and, as its state, byte order."""

    def __init__(self, code: str, *_flags: object) -> None:
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            raise InputError(f"expected arrays of numbers, found dtype {code!r}")
        self._code = code

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise InputError(f"expected the byte order of a dtype, found {order!r}")
        self._code = order + self._code[-2:]

    def read(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.dtype(self._code))


@dataclasses.dataclass
class _Array:
    """An array as it was pickled; its state comes after it."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, data = state
        self.values = dtype.read(data).reshape(shape, order="F" if is_fortran else "C")


def _from_buffer(data: bytes, dtype: _DType, shape: tuple, order: Literal["C", "F"]) -> _Array:
    return _Array(dtype.read(data).reshape(shape, order=order))


def _encode(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


_ALLOWED = {
    "numpy._core.multiarray._reconstruct": _Function(lambda *_: _Array()),
    "numpy._core.multiarray.scalar": _Function(lambda dtype, data: _Array(dtype.read(data)[0])),
    "numpy._core.numeric._frombuffer": _Function(_from_buffer),
    "numpy.dtype": _Function(_DType),
    "numpy.ndarray": None,  # an argument of _reconstruct
    "_codecs.encode": _Function(_encode),
    "dnnlib.util.EasyDict": dict,
    "collections.OrderedDict": dict,
}


_MISSING = object()


def _look_up(tree: object, path: list[str]) -> object:
    """Returns one leaf; the tree is not walked as a whole, which shared parts can make endless."""
    for name in path:
        tree = _as_dict(tree).get(name, _MISSING)
    return tree.values if isinstance(tree, _Array) else tree


def _as_dict(tree: object) -> dict:
    if isinstance(tree, list | tuple):
        return {f"[{index}]": item for index, item in enumerate(tree)}
    return tree if isinstance(tree, dict) else {}
