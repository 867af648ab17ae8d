"""Statistics files: ours, which pytorch-fid reads, and those of other tools."""

import os

import numpy as np

from jaxfid.errors import InputError
from jaxfid.stats.containers import list_names, read_arrays
from jaxfid.stats.gaussian import check_gaussian
from jaxfid.stats.json_array import make_json_array
from jaxfid.stats.layouts import LAYOUTS as LAYOUTS
from jaxfid.stats.layouts import Stats as Stats
from jaxfid.stats.layouts import is_known, make_stats, wanted_names
from jaxfid.storage.files import reading, write_file
from jaxfid.storage.paths import as_path


def save_stats(path: str | os.PathLike[str], stats: Stats) -> None:
    """Writes an `.npz` with `mu`, `sigma`, `count` and `provenance`, which pytorch-fid reads as well.

    The same statistics give the same bytes. The file appears under its name when it is whole.

    Args:
      path: Its name; used as it is.
      stats: What to write; `spatial` becomes `mu_s`, `sigma_s`, as in ADM's files.

    Raises:
      InputError: They are not a mean and a covariance, the provenance is not JSON, or nothing can be
        written there.
    """
    arrays = _make_arrays(stats)
    write_file(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


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
        arrays["provenance"] = make_json_array(stats.provenance, "stats.provenance")
    return arrays


def is_stats_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file of statistics, or of features to make them from.

    The content decides, not the suffix; no array is read, and of a pickle only the start. ADM's
    files hold images as well, and are statistics.
    """
    try:
        file, _ = _split_group(path)
        names = list_names(file)
    except InputError:
        return False
    return names is None or is_known(names)


def load_stats(path: str | os.PathLike[str]) -> Stats:
    """Returns the statistics in a file of jaxfid or of another tool; `LAYOUTS` lists them.

    An `.npz`, a pickle (read without running anything in it), or an `.npy` of a pickled dict. Of a
    file of features, mean and covariance are taken. A file with several statistics needs a choice:
    `ref.pkl#fd_dinov2`; without one it is `fid`, or the only one.

    Raises:
      InputError: The file is missing, corrupt or hostile, lacks the arrays, or what they hold is no
        mean and covariance.
    """
    file, group = _split_group(path)
    with reading(file):
        if not as_path(file).exists():
            raise InputError(f"{file}: expected a statistics file, found nothing there")
    names, arrays = read_arrays(file, wanted_names())
    try:
        return make_stats(arrays, names, group)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _split_group(path: str | os.PathLike[str]) -> tuple[str, str | None]:
    """Path and name of `PATH#NAME`; a file whose own name has a # comes first."""
    text = os.fspath(path)
    file, mark, group = text.rpartition("#")
    with reading(text):
        if not mark or as_path(text).exists():
            return text, None
    return file, group
