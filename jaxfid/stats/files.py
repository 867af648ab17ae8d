"""Statistics files, of jaxfid and of other tools."""

import os

from jaxfid.errors import InputError
from jaxfid.stats.containers import list_names, read_arrays
from jaxfid.stats.features import Features
from jaxfid.stats.formats import make_writer
from jaxfid.stats.layouts import LAYOUTS as LAYOUTS
from jaxfid.stats.layouts import Stats as Stats
from jaxfid.stats.layouts import is_known, make_stats, wanted_names
from jaxfid.storage.files import reading, write_file
from jaxfid.storage.paths import as_path


def save_stats(
    path: str | os.PathLike[str], stats: Stats | Features, *, format: str = "jaxfid"
) -> None:
    """Writes statistics for jaxfid or for another tool.

    `jaxfid` is an `.npz` with `mu`, `sigma`, `count` and `provenance`, which pytorch-fid reads as well. The
    others hold no provenance, so that nothing checks them. The same statistics give the same bytes. The
    file appears under its name when it is whole.

    Args:
      path: Its name; used as it is.
      stats: What to write; `spatial` becomes `mu_s`, `sigma_s`, as in ADM's files. For `dgm-eval`, which
        reads features of single images, what `compute_features` gives.
      format: `jaxfid`, `pytorch-fid` (also EDM, clean-fid), `edm2` or `dgm-eval`.

    Raises:
      InputError: They are not a mean and a covariance, the provenance is not JSON, the format has no place
        for them, or nothing can be written there.
    """
    write_file(path, make_writer(stats, format, path))


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
