"""Feature files: one array of feature vectors, of any origin, and what is known of it."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError
from jaxfid.stats.containers import kind_of
from jaxfid.stats.json_array import make_json_array, read_json_array
from jaxfid.stats.layouts import FEATURE_NAMES, check_features_array
from jaxfid.storage.files import reading, write_file
from jaxfid.storage.npy import open_npy, read_npy
from jaxfid.storage.npz import Npz, open_npz
from jaxfid.storage.paths import as_path

_FEATURES, _KEYS, _PROVENANCE = "features", "keys", "provenance"
_SHOWN_NAMES = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Feature vectors of a set of images, or of anything else.

    Attributes:
      rows: One row an image, float16, float32 or float64.
      keys: The images' names, in the order of the rows; None where a file does not say.
      provenance: What made the features; None where a file does not say.
    """

    # Users make these: another array is refused by name where it is used.
    rows: Float[np.ndarray, "..."]
    keys: tuple[str, ...] | None = None
    provenance: Mapping[str, Any] | None = None


def save_features(path: str | os.PathLike[str], features: Features) -> None:
    """Writes an `.npz` with `features` and, where they are known, `keys` and `provenance`.

    The same features give the same bytes. The file appears under its name when it is whole.

    Raises:
      InputError: They are not vectors, there are not as many keys, the provenance is not JSON, or
        nothing can be written there.
    """
    arrays = {_FEATURES: check_features_array(features.rows, "features.rows")}
    if features.keys is not None:
        arrays[_KEYS] = _check_keys(np.array(features.keys, np.str_), features.rows, "features")
    if features.provenance is not None:
        arrays[_PROVENANCE] = make_json_array(features.provenance, "features.provenance")
    write_file(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def load_features(path: str | os.PathLike[str]) -> Features:
    """Returns the feature vectors of a file, read into memory.

    Args:
      path: An `.npy`, or an `.npz` whose array is called `features` (ours), `pool_3` (score_sde),
        `reps` (dgm-eval) or is its only one.

    Raises:
      InputError: The file is missing or corrupt, holds Python objects, or what it holds is no
        floating array of shape `(vectors, width)`.
    """
    name = os.fspath(path)
    with reading(path):
        if not as_path(path).exists():
            raise InputError(f"{name}: expected a file of features, found nothing there")
    match kind_of(path):
        case "npz":
            with open_npz(path) as file:
                return _read(file, name)
        case "npy":
            return Features(check_features_array(read_npy(path), name))
        case "pickle":  # no tool is known that pickles features
            raise InputError(f"{name}: expected features in an .npy or .npz file, found a pickle")


def is_features_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file of feature vectors, by its content; none of them is read.

    The only array of an `.npz` counts under a known name alone: it may be of images as well.
    """
    try:
        match kind_of(path):
            case "npz":
                with open_npz(path) as file:
                    return not FEATURE_NAMES.keys().isdisjoint(file.names)
            case "npy":
                with open_npy(path) as (_, header):
                    return header is not None and (len(header.shape), header.dtype.kind) == (2, "f")
            case "pickle":
                return False
    except InputError:
        return False


def _read(file: Npz, path: str) -> Features:
    features = check_features_array(file.read(_choose(file.names, path)), path)
    keys, provenance = None, None
    if _KEYS in file.names:
        keys = tuple(_check_keys(file.read(_KEYS), features, path).tolist())
    if _PROVENANCE in file.names:
        provenance = read_json_array(file.read(_PROVENANCE), f"{path}: {_PROVENANCE}")
    return Features(features, keys, provenance)


def _choose(names: list[str], path: str) -> str:
    for name in FEATURE_NAMES:  # labels, logits and the like may lie beside
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    found = ", ".join(f"{name:.60}" for name in names[:_SHOWN_NAMES]) or "none"
    raise InputError(
        f"{path}: expected one array, or one of them called {' or '.join(FEATURE_NAMES)}, found "
        f"{found}; statistics (mu, sigma) are compared by `jaxfid score`"
    )


def _check_keys(keys: np.ndarray, features: np.ndarray, path: str) -> np.ndarray:
    if keys.dtype.kind != "U" or keys.shape != features.shape[:1]:
        raise InputError(
            f"{path}: {_KEYS}: expected {len(features)} names, found {keys.dtype} of shape {keys.shape}"
        )
    return keys
