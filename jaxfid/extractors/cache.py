"""Weights files in the user's cache, each in a folder that is named by its digest.

One rule keeps scores honest: what a file is called depends on its content alone. The cache holds files as
they were published, because only their bytes prove what they are.
"""

import contextlib
import pathlib
from collections.abc import Iterator

import platformdirs
from etils import epath

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors import manifest
from jaxfid.extractors.download import download_once
from jaxfid.extractors.manifest import Release
from jaxfid.extractors.weights_file import WeightsFile, read_tensors
from jaxfid.storage.files import write_file

_FOLDER_DIGITS = 16


def cache_dir() -> pathlib.Path:
    """Returns the folder of weights in the user's cache, which may not exist yet."""
    return pathlib.Path(platformdirs.user_cache_dir("jaxfid")) / "weights"


def official_path(release: Release) -> pathlib.Path | None:
    """Returns where a release lies in the cache, there or not; None where nobody knows its digest."""
    if release.sha256 is None:
        return None
    return cache_dir() / release.sha256[:_FOLDER_DIGITS] / release.file


def stored_paths() -> list[pathlib.Path]:
    """Returns the files of the cache; the next download goes on from those that end in `.part`."""
    return [path for path in sorted(cache_dir().glob("*/*")) if path.suffix != ".part"]


def check_stored(path: pathlib.Path | epath.Path, sha256: str) -> None:
    """Checks that a file of the cache, or any other, is what was stored there.

    Raises:
      InputError: It lies in the cache and has another digest than its folder says.
    """
    # A user's own file lies in no folder with such a name.
    if path.parent.parent == cache_dir() and not sha256.startswith(path.parent.name):
        raise InputError(
            f"{path}: expected the weights of sha256 {path.parent.name}..., found {sha256}: the "
            "file was damaged or changed since it was stored; delete it and import or download again"
        )


def read_weights_file(path: pathlib.Path | epath.Path) -> WeightsFile:
    """Returns a file's tensors; one of the cache is what was stored there.

    Raises:
      InputError: There is no file, or it is damaged, hostile, of another kind, or was changed.
    """
    file = read_tensors(path)
    check_stored(path, file.sha256)
    return file


def recognise(file: WeightsFile) -> Release | None:
    """Returns the release that these are, by their bytes or, once that is known of it, by their tensors."""
    by_bytes = release_of(file.sha256)
    if by_bytes is not None:
        return by_bytes
    known = {r.tensors_sha256: r for r in manifest.load_manifest() if r.tensors_sha256}
    # Last, because it reads all numbers once more.
    return known.get(file.tensors_sha256())


def release_of(sha256: str) -> Release | None:
    """Returns the release whose file has this digest."""
    return next((r for r in manifest.load_manifest() if r.sha256 == sha256), None)


def name_weights(release: Release | None, file_name: str) -> str:
    """Returns what results call the weights of a file: of a release, or of none that is known."""
    return release.name if release else f"unrecognised weights ({file_name})"


def store(file: WeightsFile) -> pathlib.Path:
    """Returns where in the cache the file lies now, under a folder named by its digest.

    Raises:
      WeightsUnavailableError: The cache cannot be written.
    """
    # The release's own file name, whatever the file was called: "auto" looks there.
    release = release_of(file.sha256)
    name = release.file if release else file.name
    target = cache_dir() / file.sha256[:_FOLDER_DIGITS] / name
    with writing_cache():
        # The bytes that were checked, not the file again: it may have been exchanged since.
        write_file(target, file.data)
    return target


def fetch_release(release: Release) -> pathlib.Path:
    """Returns where in the cache a release lies, downloaded now if it does not lie there intact.

    Of several processes one downloads and the others wait. A download that is cut off leaves its part
    beside, and the next call goes on from there.

    Raises:
      WeightsUnavailableError: It cannot be had, nobody knows its digest, or the cache cannot be written.
    """
    target = official_path(release)
    if target is None or release.sha256 is None:
        raise WeightsUnavailableError(
            f"{release.name}: no digest of {release.file} is known here, so that a download could not be "
            f"checked; fetch {release.url} yourself, and name the file or import it"
        )
    with writing_cache():
        download_once(
            release.url,
            target,
            size_bytes=release.size_bytes,
            sha256=release.sha256,
            cache=cache_dir(),
            purpose="a download of weights",
        )
    return target


@contextlib.contextmanager
def writing_cache() -> Iterator[None]:
    """Turns an error of the file system into one that says what to do."""
    try:
        yield
    except (OSError, InputError) as error:
        raise WeightsUnavailableError(
            f"{cache_dir()}: the cache cannot be written: {error}. Name a weights file instead "
            "(--weights PATH or JAXFID_WEIGHTS=PATH), or set XDG_CACHE_HOME"
        ) from error
