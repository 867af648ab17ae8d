"""Where the network's weights lie: a path, the user's cache, or the release they come from.

One rule keeps scores honest: what a file is called depends on its content alone. Weights whose
bytes, or whose tensors, have a digest of `weights/manifest.json` carry that release's name; all
others are "unrecognised weights", may be used by naming their path, and are never what "auto" loads.
The cache holds files as they were published, because only their bytes prove what they are.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

import platformdirs

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors.download import download
from jaxfid.extractors.inception.checkpoint import (
    Params,
    check_tensors,
    fold_params,
    untrained_params,
)
from jaxfid.extractors.manifest import Release, load_manifest
from jaxfid.extractors.weights_file import WeightsFile, read_tensors
from jaxfid.storage.digests import digest_arrays
from jaxfid.storage.files import write_file
from jaxfid.storage.locks import lock
from jaxfid.storage.paths import as_path

ENVIRONMENT_VARIABLE = "JAXFID_WEIGHTS"
_FOLDER_DIGITS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """The network's parameters and what results say of them.

    Attributes:
      name: The release's name, "unrecognised weights (FILE)", or "untrained".
      sha256: Digest of the file they were read from; of the parameters when untrained.
      official: Whether the file, or its tensors, are those of the manifest.
      params: Nested dict of float32 arrays, BatchNorm folded; see `checkpoint.Params`.
    """

    name: str
    sha256: str
    official: bool
    params: Params = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """A weights file in the cache.

    Attributes:
      path: Where it lies; `--weights PATH` takes it.
      name: As in `Weights`.
      sha256: As in `Weights`.
      official: As in `Weights`.
    """

    path: pathlib.Path
    name: str
    sha256: str
    official: bool


@dataclasses.dataclass(frozen=True)
class WeightsStatus:
    """What there is to load.

    Attributes:
      release: What "auto" stands for.
      environment: Value of JAXFID_WEIGHTS, which "auto" follows when it is set.
      cache_dir: The user's cache.
      stored: Intact files in the cache.
      damaged: What is wrong with each of the others.
    """

    release: Release
    environment: str | None
    cache_dir: pathlib.Path
    stored: tuple[StoredWeights, ...]
    damaged: tuple[str, ...]


def load_weights(weights: str | os.PathLike[str] = "auto") -> Weights:
    """Returns the parameters of the FID's Inception-v3.

    Args:
      weights: "auto": the file that JAXFID_WEIGHTS names, else the official weights from the
        cache, else from their release, downloaded now. "untrained": seeded random numbers for a
        dry run. Anything else: path of a `.pth` of either torch format, or of a `.safetensors`.

    Raises:
      InputError: The file named does not exist or does not hold the network.
      WeightsUnavailableError: Neither the cache nor the network has the official weights.
    """
    if weights == "untrained":
        return _make_untrained()
    if weights != "auto":
        return _as_weights(_read_network(weights))
    if path := os.environ.get(ENVIRONMENT_VARIABLE):
        try:
            return _as_weights(_read_network(path))
        except InputError as error:
            raise InputError(f"{ENVIRONMENT_VARIABLE}: {error}") from error
    return _load_official()


def import_weights(path: str | os.PathLike[str]) -> StoredWeights:
    """Returns where in the cache the weights of a file now lie, all of its tensors checked.

    Official weights are from now on what "auto" loads. Any others are loaded only where that path
    is given.

    Raises:
      InputError: The file does not exist or does not hold the network.
      WeightsUnavailableError: The cache cannot be written.
    """
    file = _read_network(path)
    target = _cache_path(file)
    with _writing_cache():
        # The bytes that were checked, not the file again: it may have been exchanged since.
        write_file(target, file.data)
    return _as_stored(target, file)


def download_weights() -> StoredWeights:
    """Returns where in the cache the official weights lie, downloading them if they do not yet.

    Of several processes one downloads and the others wait. A damaged file is replaced. A download
    that is cut off leaves its part beside, and the next call goes on from there.

    Raises:
      WeightsUnavailableError: They cannot be had, or the cache cannot be written.
    """
    release = official_release()
    target = _official_path(release)
    with _writing_cache(), lock(cache_dir(), "a download of weights", wait=True):
        # Looked at under the lock: the process that was waited for may have brought them.
        with contextlib.suppress(InputError):
            return _as_stored(target, _read_official(target, release))
        target.parent.mkdir(parents=True, exist_ok=True)
        download(release.url, target, size_bytes=release.size_bytes, sha256=release.sha256)
        return _as_stored(target, _read_official(target, release))


def weights_status() -> WeightsStatus:
    """Returns what "auto" would load and what lies in the cache, each file read and checked."""
    stored, damaged = [], []
    for path in sorted(cache_dir().glob("*/*")):
        if path.suffix == ".part":  # the next download goes on from it
            continue
        try:
            stored.append(_as_stored(path, _read_network(path)))
        except InputError as error:
            damaged.append(str(error))
    damaged += [f"{path}: {_CONVERTED}" for path in _converted_paths()]
    environment = os.environ.get(ENVIRONMENT_VARIABLE) or None
    return WeightsStatus(
        official_release(), environment, cache_dir(), tuple(stored), tuple(damaged)
    )


def cache_dir() -> pathlib.Path:
    """Returns the folder of weights in the user's cache, which may not exist yet."""
    return pathlib.Path(platformdirs.user_cache_dir("jaxfid")) / "weights"


def official_release() -> Release:
    """Returns the release that "auto" stands for: the first of the manifest."""
    return load_manifest()[0]


_CONVERTED = (
    "made by jaxfid 0.1, which kept a converted copy; nothing in it proves where it comes from. "
    "Run `jaxfid weights download`, or `jaxfid weights import` with the published file, and delete it"
)


def _converted_paths() -> list[pathlib.Path]:
    """What the first edition left in the cache."""
    return sorted(cache_dir().glob("*.safetensors"))


def _load_official() -> Weights:
    release = official_release()
    path = _official_path(release)
    try:
        # Read again even after a download: the digest that counts is that of the bytes on the disk.
        if not path.exists():
            download_weights()
        return _as_weights(_read_official(path, release))
    except InputError as error:
        raise WeightsUnavailableError(
            f"{error}\n`jaxfid weights download` replaces it where there is a network."
        ) from error
    except WeightsUnavailableError as error:
        raise WeightsUnavailableError(
            f"The Inception weights are not in {cache_dir()} and could not be downloaded: {error}\n"
            "Three ways on:\n"
            f"  1. fetch {release.url} on another machine, then here: jaxfid weights import FILE\n"
            f"  2. name a file: --weights PATH, or {ENVIRONMENT_VARIABLE}=PATH\n"
            "  3. a dry run, whose numbers mean nothing: --weights untrained"
            + "".join(f"\nImported, but not official: {p}" for p in _unrecognised_paths(path))
            + "".join(f"\n{path}: {_CONVERTED}" for path in _converted_paths())
        ) from error


def _unrecognised_paths(official: pathlib.Path) -> list[pathlib.Path]:
    paths = sorted(cache_dir().glob("*/*"))
    return [path for path in paths if path.parent != official.parent]


def _read_network(path: str | os.PathLike[str]) -> WeightsFile:
    """The file's tensors, all checked to be the network's; a file of the cache is what it was."""
    path = as_path(path).expanduser()
    file = read_tensors(path)
    # The folder's name says what was stored there; a user's own file has no such name.
    if path.parent.parent == cache_dir() and not file.sha256.startswith(path.parent.name):
        raise InputError(
            f"{path}: expected the weights of sha256 {path.parent.name}..., found {file.sha256}: the "
            "file was damaged or changed since it was stored; delete it and import or download again"
        )
    try:
        check_tensors(file.tensors, file.repeated)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return file


def _read_official(path: pathlib.Path, release: Release) -> WeightsFile:
    """The release's own bytes: a converted copy may be used by its path, and is not stored here."""
    file = _read_network(path)
    if file.sha256 != release.sha256:
        raise InputError(
            f"{path}: expected the weights of sha256 {release.sha256}, found those of {file.sha256}; "
            "delete the file"
        )
    return file


def _make_untrained() -> Weights:
    params = untrained_params()
    flat = {
        f"{path}.{part}": array for path, layer in _flatten(params) for part, array in layer.items()
    }
    return Weights("untrained", digest_arrays(flat), False, params)


def _flatten(params: Params, prefix: str = "") -> Iterator[tuple[str, dict]]:
    for name, value in params.items():
        if "kernel" in value:
            yield prefix + name, value
        else:
            yield from _flatten(value, f"{prefix}{name}.")


def _recognise(file: WeightsFile) -> Release | None:
    """The release that these are, by their bytes or, once that is known of it, by their tensors."""
    for release in load_manifest():
        if release.sha256 == file.sha256:
            return release
        # Last, because it reads all numbers once more.
        if release.tensors_sha256 and release.tensors_sha256 == file.tensors_sha256():
            return release
    return None


def _name(file: WeightsFile) -> tuple[str, bool]:
    release = _recognise(file)
    return (release.name, True) if release else (f"unrecognised weights ({file.name})", False)


def _as_weights(file: WeightsFile) -> Weights:
    name, official = _name(file)
    return Weights(name, file.sha256, official, fold_params(file.tensors))


def _as_stored(path: pathlib.Path, file: WeightsFile) -> StoredWeights:
    name, official = _name(file)
    return StoredWeights(path, name, file.sha256, official)


def _cache_path(file: WeightsFile) -> pathlib.Path:
    """A folder named by the digest, in which the file keeps its own name."""
    # The release's own file name, whatever the imported file was called: "auto" looks there.
    for release in load_manifest():
        if release.sha256 == file.sha256:
            return _official_path(release)
    return cache_dir() / file.sha256[:_FOLDER_DIGITS] / file.name


def _official_path(release: Release) -> pathlib.Path:
    return cache_dir() / release.sha256[:_FOLDER_DIGITS] / release.file


@contextlib.contextmanager
def _writing_cache() -> Iterator[None]:
    """Turns an error of the file system into one that says what to do."""
    try:
        yield
    except (OSError, InputError) as error:
        raise WeightsUnavailableError(
            f"{cache_dir()}: the cache cannot be written: {error}. Name a weights file instead "
            f"(--weights PATH or {ENVIRONMENT_VARIABLE}=PATH), or set XDG_CACHE_HOME"
        ) from error
