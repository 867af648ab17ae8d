"""Formats that statistics are written in: ours, and those that other tools read as their own."""

import io
import os
from collections.abc import Callable, Mapping
from pickle import dumps  # writes only: what reads pickles is not imported

import numpy as np

from jaxfid.errors import InputError
from jaxfid.stats.features import Features
from jaxfid.stats.gaussian import check_gaussian
from jaxfid.stats.json_array import make_json_array
from jaxfid.stats.layouts import Stats, check_features_array

Arrays = Mapping[str, np.ndarray]
Write = Callable[[io.BufferedIOBase], object]

_EDM2_NAMES: Mapping[tuple[object, ...], str] = {
    ("inception", "legacy_tensorflow", 2048): "fid",
    ("dinov2_vitl14", "edm2", 1024): "fd_dinov2",
}
"""What EDM2 calls the features of a network under an input rule, of that width."""


def make_writer(stats: Stats | Features, format: str, path: str | os.PathLike[str]) -> Write:
    """Returns what writes statistics to an open file.

    Args:
      stats: Statistics; for dgm-eval, which has no statistics files, features.
      format: A key of `FORMATS`.
      path: Where they go. Tools know a format by the ending of its name.

    Raises:
      InputError: There is no such format, it has no place for what is given, or its tool would take the
        file for another.
    """
    if format not in FORMATS:
        raise InputError(f"format: expected one of {', '.join(FORMATS)}, found {format!r}")
    if (kind := Features if format == "dgm-eval" else Stats) is not type(stats):
        made = "compute_features" if kind is Features else "compute_stats"
        raise InputError(
            f"stats: the format {format} holds what {made} gives, found {type(stats).__name__}"
        )
    check_format(format, path, stats.provenance)
    return FORMATS[format](stats)


def check_format(
    format: str, path: str | os.PathLike[str], made: Mapping[str, object] | None
) -> None:
    """Checks what is known before any image is seen.

    Args:
      format: A key of `FORMATS`.
      path: Where the file goes.
      made: `extractor`, `protocol` and `dims` of what will be written; None where nobody knows.

    Raises:
      InputError: The tool would take the file for another.
    """
    name = os.fspath(path)
    if format == "pytorch-fid" and not name.endswith(
        ".npz"
    ):  # else it looks for a folder of images
        raise InputError(f"{name}: pytorch-fid reads names that end in .npz")
    if format == "edm2" and name.lower().endswith(".npz"):
        raise InputError(
            f"{name}: EDM2 takes a name that ends in .npz for another format; say .pkl"
        )
    if format == "edm2":
        _edm2_name(made or {})


def _edm2_name(made: Mapping[str, object]) -> str:
    """What EDM2 calls such features."""
    found = tuple(made.get(part, "unknown") for part in ("extractor", "protocol", "dims"))
    if found not in _EDM2_NAMES:
        known, shown = (
            " or ".join("{2} features of {0} under {1}".format(*one) for one in features)
            for features in (_EDM2_NAMES, [found])
        )
        raise InputError(f"stats: EDM2 has statistics of {known}, found {shown}")
    return _EDM2_NAMES[found]


def _write_npz(arrays: Arrays) -> Write:
    return lambda file: np.savez(file, allow_pickle=False, **arrays)


def _make_jaxfid(stats: Stats) -> Write:
    arrays = _moments(stats, "mu", "sigma")
    if stats.spatial is not None:
        arrays |= _moments(stats.spatial, "mu_s", "sigma_s")
    if stats.count is not None:
        arrays["count"] = np.array(stats.count)
    if stats.provenance is not None:
        arrays["provenance"] = make_json_array(stats.provenance, "stats.provenance")
    return _write_npz(arrays)


def _make_pytorch_fid(stats: Stats) -> Write:
    """The two arrays alone; EDM and clean-fid read the same."""
    _refuse_spatial(stats, "pytorch-fid")
    return _write_npz(_moments(stats, "mu", "sigma"))


def _make_edm2(stats: Stats) -> Write:
    """A pickled dict by metric; EDM2 takes an `.npz` for a file of EDM, with an FID alone."""
    _refuse_spatial(stats, "edm2")
    name = _edm2_name(stats.provenance or {})
    content = dumps({name: _moments(stats, "mu", "sigma")}, protocol=4)
    return lambda file: file.write(content)


def _make_dgm_eval(features: Features) -> Write:
    arrays = {"reps": check_features_array(features.rows, "features.rows")}
    model = (features.provenance or {}).get("extractor")
    return _write_npz(arrays if model is None else arrays | {"model": np.array(model)})


FORMATS: Mapping[str, Callable[..., Write]] = {
    "jaxfid": _make_jaxfid,
    "pytorch-fid": _make_pytorch_fid,
    "edm2": _make_edm2,
    "dgm-eval": _make_dgm_eval,
}
"""By name."""


def _moments(stats: Stats, mean: str, cov: str) -> dict[str, np.ndarray]:
    found = check_gaussian(stats.mean, stats.cov, mean_name=mean, cov_name=cov)
    return dict(zip((mean, cov), found, strict=True))


def _refuse_spatial(stats: Stats, format: str) -> None:
    if stats.spatial is not None:
        raise InputError(f"stats: the format {format} has no place for sFID's statistics")
