"""Feature files: one array of feature vectors, of any origin."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError

KEY = "features"
"""The array of an `.npz` that is read where there are several."""

_DAMAGE = (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of single images."""

    rows: Float[np.ndarray, "n d"]
    keys: tuple[str, ...] | None = None
    provenance: Mapping[str, Any] | None = None


def is_features_file(path: str | Path) -> bool:
    return False


def save_features(path, features):
    arrays = {"features": features.rows, "keys": np.array(features.keys)}
    with open(path, "wb") as f:
        np.savez(f, **arrays, provenance=np.array(json.dumps(dict(features.provenance))))


def load_features(path: str | Path) -> "Features":
    """Returns the feature vectors of a file, which is not read into memory where it is an `.npy`.

    Args:
      path: An `.npy`, or an `.npz` whose array is called `features` or is its only one.

    Raises:
      InputError: The file is missing or corrupt, holds Python objects, or what it holds is no
        floating array of shape `(vectors, width)`.
    """
    path = Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"{path}: expected features in an .npy or .npz file")
    try:
        features = _read_npz(path) if path.suffix == ".npz" else _map_npy(path)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file of features, found nothing there") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: expected a plain array, found: {error}") from error
    if features.ndim != 2 or features.dtype.kind != "f" or 0 in features.shape:
        raise InputError(
            f"{path}: expected a floating array of shape (vectors, width), "
            f"found {features.dtype} of shape {features.shape}"
        )
    return Features(np.asarray(features))


def _map_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)  # np.load takes what is no .npy for a pickle
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_npz(path: Path) -> np.ndarray:
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise InputError("expected an .npz of plain arrays, found no whole zip archive")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            if KEY not in file.files and len(file.files) != 1:
                names = ", ".join(file.files[:20]) or "none"
                raise InputError(
                    f"expected one array, or one of them called {KEY}, found {names}; statistics "
                    "(mu, sigma) are compared by `jaxfid score`"
                )
            return file[KEY if KEY in file.files else file.files[0]]
