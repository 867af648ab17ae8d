"""Statistics files: ours, which pytorch-fid reads, and those of other tools."""

import dataclasses
import json
import math
import os
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError
from jaxfid.stats.gaussian import check_gaussian
from jaxfid.stats.pickles import read_pickled

EXTRACTOR_FACTS = ("extractor", "input")
"""What provenance says more where the network is not the FID's: its name, and its resize and scaling."""

COMPARED = ("protocol", "dims", "weights_sha256", "precision", *EXTRACTOR_FACTS)
"""Parts of the provenance without which two statistics are not of the same features."""

MAX_ARRAY_BYTES = 8 * 32768**2
"""No larger array is read: a forged header costs nothing, and no covariance here is as wide."""


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


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a tool's files hold the moments.

    Attributes:
      tools: Who writes it.
      mean: Name of the mean; in a pickle `/` goes into a dict and `[0]` into a tuple.
      cov: Name of the covariance.
      count: Name of the number of images, which may be absent.
      raw: Whether mean and covariance are sums of `x` and `outer(x, x)` instead.
    """

    tools: str
    mean: str
    cov: str
    count: str | None = None
    raw: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that is read."""
        return tuple(filter(None, (self.mean, self.cov, self.count)))


LAYOUTS = (
    Layout("jaxfid, TTUR, pytorch-fid, clean-fid, ADM, EDM", "mu", "sigma", "count"),
    Layout("imeanflow, forks of torch-fidelity", "ref_mu", "ref_sigma"),
    Layout("EDM2", "fid/mu", "fid/sigma", "num_images"),
    Layout("StyleGAN2-ADA, StyleGAN3", "raw_mean", "raw_cov", "num_items", raw=True),
    Layout("StyleGAN, StyleGAN2", "[0]", "[1]"),
)
"""Files that are read, in the order in which they are tried."""

_SPATIAL = Layout("jaxfid, ADM", "mu_s", "sigma_s", "count")
_WANTED = {name for layout in (*LAYOUTS, _SPATIAL) for name in layout.names} | {"provenance"}
_PICKLES = (".pkl", ".pickle")


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
      stats: What to write; `spatial` becomes `mu_s`, `sigma_s`, as in ADM's files.

    Raises:
      InputError: The moments are none, the provenance is not JSON, or nothing can be written there.
    """
    path = Path(path)
    arrays = _make_arrays(stats)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: statistics cannot be written there: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def is_stats_file(path: str | Path) -> bool:
    """Whether a path is a file of statistics; no array is read, and of a pickle only the suffix.

    ADM's files hold images as well, and are statistics.
    """
    path = Path(path)
    if path.suffix in _PICKLES:
        return path.is_file()
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with path.open("rb") as stream, _open_npz(stream) as file:
            return any(layout.mean in file for layout in LAYOUTS)
    except _DAMAGE:
        return False


def load_stats(path: str | Path) -> Stats:
    """Returns the statistics in a file of jaxfid or of another tool; `LAYOUTS` lists them.

    A pickle is read without running anything in it. StyleGAN's sums become a covariance with
    ddof 1, where its own FID uses ddof 0.

    Raises:
      InputError: The file is missing, corrupt or hostile, lacks the arrays, or what they hold is no
        mean and covariance.
    """
    path = Path(path)
    read = read_pickled if path.suffix in _PICKLES else _read_npz
    try:
        with path.open("rb") as stream:
            return _make_stats(*read(stream, _WANTED))
    except FileNotFoundError:
        raise InputError(f"{path}: expected a statistics file, found nothing there") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: expected an .npz of plain arrays, found: {error}") from error


_DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def _read_npz(stream: BinaryIO, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    with _open_npz(stream) as file:
        return {name: _read_array(file, name) for name in file.files if name in wanted}, file.files


def _open_npz(stream: BinaryIO) -> np.lib.npyio.NpzFile:
    if not zipfile.is_zipfile(stream):
        raise InputError("expected an .npz of plain arrays, found no whole zip archive")
    stream.seek(0)
    return np.load(stream, allow_pickle=False)


def _read_array(file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    with file.zip.open(f"{name}.npy") as member:
        is_first = np.lib.format.read_magic(member) == (1, 0)
        fmt = np.lib.format
        read_header = fmt.read_array_header_1_0 if is_first else fmt.read_array_header_2_0
        shape, _, dtype = read_header(member)
    if math.prod(shape) * dtype.itemsize > MAX_ARRAY_BYTES:
        raise InputError(f"{name}: expected a mean or covariance, found shape {shape}")
    return file[name]


def _make_stats(arrays: Mapping[str, Any], found: list[str]) -> Stats:
    for layout in LAYOUTS:
        if layout.mean in arrays:
            stats = _read_layout(arrays, layout)
            spatial = _read_layout(arrays, _SPATIAL) if _SPATIAL.mean in arrays else None
            return dataclasses.replace(stats, spatial=spatial)
    expected = "; ".join(f"{layout.mean}, {layout.cov} ({layout.tools})" for layout in LAYOUTS)
    names = ", ".join(found[:20]) or "none"
    raise InputError(f"expected one of the pairs {expected}; found {names}")


def _read_layout(arrays: Mapping[str, Any], layout: Layout) -> Stats:
    if layout.cov not in arrays:
        raise InputError(f"expected {layout.mean} and {layout.cov}, found {layout.mean} alone")
    names = {"mean_name": layout.mean, "cov_name": layout.cov}
    mean, cov = check_gaussian(arrays[layout.mean], arrays[layout.cov], **names)
    count = _read_count(layout.count, arrays)
    if layout.raw:
        mean, cov = _centre(mean, cov, count, layout)
    return Stats(mean, cov, count, _read_provenance(arrays))


def _centre(
    total: np.ndarray, outer: np.ndarray, count: int | None, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    if count is None:
        raise InputError(f"expected {layout.count} beside {layout.mean}, which is a sum")
    if not outer.any():
        raise InputError(f"{layout.cov}: expected sums, found zeros: only features were captured")
    mean = total / count
    return mean, (outer - count * np.outer(mean, mean)) / (count - 1)


def _read_count(name: str | None, arrays: Mapping[str, Any]) -> int | None:
    if name not in arrays:
        return None
    count = np.asarray(arrays[name])
    if count.shape != () or count.dtype.kind not in "iu" or count < 2:
        raise InputError(f"{name}: expected a number of images from 2 up, found {count!r:.60}")
    return int(count)


def _read_provenance(arrays: Mapping[str, Any]) -> dict[str, Any] | None:
    if "provenance" not in arrays:
        return None
    try:
        provenance = json.loads(str(arrays["provenance"]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"provenance: expected JSON, found: {error}") from error
    if not isinstance(provenance, dict):
        raise InputError(f"provenance: expected a JSON object, found {provenance!r:.60}")
    return provenance


def _make_arrays(stats: Stats) -> dict[str, np.ndarray]:
    """Returns the arrays of a file of ours, in the order in which they are written."""
    arrays = {}
    for part, mean, cov in ((stats, "mu", "sigma"), (stats.spatial, "mu_s", "sigma_s")):
        if part is not None:
            names = {"mean_name": mean, "cov_name": cov}
            arrays[mean], arrays[cov] = check_gaussian(part.mean, part.cov, **names)
    if stats.count is not None:
        arrays["count"] = np.array(stats.count)
    if stats.provenance is not None:
        try:
            text = json.dumps(stats.provenance, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"stats.provenance: expected what JSON can hold: {error}") from error
        arrays["provenance"] = np.array(text)
    return arrays
