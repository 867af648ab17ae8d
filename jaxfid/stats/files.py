"""Statistics files: ours, which pytorch-fid reads, and those of other tools."""

import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError
from jaxfid.stats.gaussian import check_gaussian

COMPARED = ("protocol", "dims", "weights_sha256", "precision")
"""Parts of the provenance without which two statistics are not of the same features."""


@dataclasses.dataclass(frozen=True)
class Stats:
    """Mean and covariance of a set's features.

    Attributes:
      mean: float64.
      cov: float64, with ddof 1 where jaxfid made it.
      count: Images; None where a file does not say.
      provenance: What made the features; None where a file does not say.
      spatial: The same of sFID's features, which ADM's files hold as well.
    """

    mean: Float[np.ndarray, " d"]
    cov: Float[np.ndarray, "d d"]
    count: int | None = None
    provenance: Mapping[str, Any] | None = None
    spatial: "Stats | None" = None


def check_comparable(reference: Mapping[str, Any], generated: Mapping[str, Any]) -> list[str]:
    """Returns every difference between two provenances that makes their features incomparable."""
    return [
        f"{name} {generated.get(name)} against {reference.get(name)}"
        for name in COMPARED
        if reference.get(name) != generated.get(name)
    ]


def save_stats(path: str | Path, stats: Stats) -> None:
    """Writes an `.npz` with `mu`, `sigma`, `count` and `provenance`, which pytorch-fid reads as well.

    The same statistics give the same bytes. The file appears under its name when it is whole.

    Args:
      path: Its name; used as it is.
      stats: What to write.
    """
    path = Path(path)
    arrays = {"mu": stats.mean, "sigma": stats.cov}
    if stats.count is not None:
        arrays["count"] = np.array(stats.count)
    if stats.provenance is not None:
        arrays["provenance"] = np.array(json.dumps(stats.provenance, sort_keys=True))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def is_stats_file(path: str | Path) -> bool:
    """Whether a path is a file of statistics; its arrays are not read."""
    path = Path(path)
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return any(keys[0] in file for keys in _MEAN_AND_COV)
    except (ValueError, OSError, zipfile.BadZipFile):
        return False


def load_stats(path: str | Path) -> Stats:
    """Returns the statistics in a file of jaxfid or of another tool.

    Keys `mu, sigma` are those of TTUR, pytorch-fid, clean-fid, EDM and ADM, which has `mu_s, sigma_s` of
    sFID's features beside them; `ref_mu, ref_sigma` those of torch-fidelity's forks and imeanflow.

    Raises:
      InputError: The file is missing or corrupt, lacks the keys, or holds no mean and covariance.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if key in _KNOWN_KEYS}
            found = file.files
    except FileNotFoundError:
        raise InputError(f"{path}: expected a statistics file, found nothing there") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: expected an .npz of plain arrays, found: {error}") from error
    for mean, cov in _MEAN_AND_COV:
        if mean in arrays and cov in arrays:
            spatial = _make_stats(path, arrays, "mu_s", "sigma_s") if "mu_s" in arrays else None
            return dataclasses.replace(_make_stats(path, arrays, mean, cov), spatial=spatial)
    expected = " or ".join(f"{mean}, {cov}" for mean, cov in _MEAN_AND_COV)
    raise InputError(f"{path}: expected the arrays {expected}, found {', '.join(found) or 'none'}")


_MEAN_AND_COV = (("mu", "sigma"), ("ref_mu", "ref_sigma"))
_KNOWN_KEYS = {*sum(_MEAN_AND_COV, ()), "mu_s", "sigma_s", "count", "provenance"}


def _make_stats(path: Path, arrays: Mapping[str, np.ndarray], mean: str, cov: str) -> Stats:
    if cov not in arrays:
        raise InputError(f"{path}: expected {mean} and {cov}, found {mean} alone")
    try:
        checked = check_gaussian(arrays[mean], arrays[cov], mean_name=mean, cov_name=cov)
        return Stats(*checked, _read_count(arrays), _read_provenance(arrays))
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def _read_count(arrays: Mapping[str, np.ndarray]) -> int | None:
    if "count" not in arrays:
        return None
    count = arrays["count"]
    if count.shape != () or count.dtype.kind not in "iu" or count < 2:
        raise InputError(f"count: expected a number of images from 2 up, found {count!r:.60}")
    return int(count)


def _read_provenance(arrays: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    if "provenance" not in arrays:
        return None
    provenance = json.loads(str(arrays["provenance"]))
    if not isinstance(provenance, dict):
        raise InputError(f"provenance: expected a JSON object, found {provenance!r:.60}")
    return provenance
