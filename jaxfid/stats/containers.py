"""Named arrays in a file, whatever holds them: an `.npz`, a pickle, or an `.npy`.

The first bytes decide which it is, so that a name without a suffix is as good as any.
"""

import os
from collections.abc import Collection
from typing import Literal

from jaxfid.errors import InputError
from jaxfid.stats.layouts import Arrays
from jaxfid.stats.pickles import read_pickled
from jaxfid.storage.files import open_file, reading
from jaxfid.storage.npy import is_npy, open_npy
from jaxfid.storage.npz import is_npz, open_npz
from jaxfid.storage.streams import ByteReader

Kind = Literal["npz", "npy", "pickle"]

_START_BYTES = 8
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
_PICKLE_SUFFIXES = (".pkl", ".pickle")


def kind_of(path: str | os.PathLike[str]) -> Kind:
    """Returns what a file is.

    Raises:
      InputError: It is none of these, or cannot be read.
    """
    with open_file(path) as file, reading(path):
        start = file.read(_START_BYTES)
    if is_npz(start):
        return "npz"
    if is_npy(start):
        return "npy"
    is_binary_pickle = start[:2] in _PICKLE_STARTS
    # Pickles of protocols 0 and 1 are text, which only the name tells from other text.
    if is_binary_pickle or os.fspath(path).endswith(_PICKLE_SUFFIXES):
        return "pickle"
    raise InputError(
        f"{os.fspath(path)}: expected an .npz of plain arrays, an .npy or a pickle, found neither: "
        "no whole zip archive, no NumPy array"
    )


def list_names(path: str | os.PathLike[str]) -> list[str] | None:
    """Returns the names of the arrays in a file; None where only reading all of it would tell.

    The array of an `.npy` has no name.

    Raises:
      InputError: It holds no arrays, or is damaged.
    """
    match kind_of(path):
        case "npz":
            with open_npz(path) as file:
                return file.names
        case "npy":  # a plain array may be a covariance alone as well as features
            with open_npy(path) as (_, header):
                return None if header is None else []
        case "pickle":
            return None


def read_arrays(path: str | os.PathLike[str], wanted: Collection[str]) -> tuple[list[str], Arrays]:
    """Returns all names in a file, and the arrays among those that are wanted.

    Of a pickle everything is read, in a tree whose names are paths (`fid/mu`, `[0]`), and likewise
    of an `.npy` that holds a dict. The array of any other `.npy` has no name and is not read.

    Raises:
      InputError: The file is missing, damaged or hostile.
    """
    match kind_of(path):
        case "npz":
            # ADM's files hold gigabytes of images beside: only what is wanted is read.
            with open_npz(path) as file:
                return file.names, {n: file.read(n) for n in file.names if n in wanted}
        case "npy":
            with open_npy(path) as (stream, header):
                arrays = _read_pickle(stream, path) if header is None else {}
        case "pickle":
            with open_file(path) as stream, reading(path):
                arrays = _read_pickle(stream, path)
    return list(arrays), arrays


def _read_pickle(stream: ByteReader, path: str | os.PathLike[str]) -> Arrays:
    try:
        return read_pickled(stream)
    except InputError as error:
        raise InputError(
            f"{os.fspath(path)}: {error}. Only plain containers of NumPy arrays are read: write mu and "
            "sigma to an .npz with the tool that made the file"
        ) from error
