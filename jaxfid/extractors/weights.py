"""Where the network's weights lie: a path, the user's cache, or the release they come from.

One rule keeps scores honest: what a file is called depends on its digest alone. Weights whose
digest stands in `weights/manifest.json` carry that release's name; all others are "unrecognised
weights", may be used by naming their path, and are never what "auto" loads.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
from collections.abc import Iterator

import platformdirs

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors.download import download
from jaxfid.extractors.inception.checkpoint import Params, fold_params, untrained_params
from jaxfid.extractors.manifest import Release, load_manifest
from jaxfid.extractors.weights_file import (
    SUFFIX,
    WeightsFile,
    read_weights_file,
    tensors_sha256,
    write_weights_file,
)

try:
    import fcntl
except ImportError:  # Windows: two processes may then both download, and the digest decides
    fcntl = None

ENVIRONMENT_VARIABLE = "JAXFID_WEIGHTS"
_UNRECOGNISED = "unrecognised"


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """The network's parameters and what results say of them.

    Attributes:
      name: The release's name, "unrecognised weights (FILE)", or "untrained".
      sha256: Digest of the file they were first read from; of the parameters when untrained.
      official: Whether that digest stands in the manifest.
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


def load_weights(weights: str | pathlib.Path = "auto") -> Weights:
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
        return _as_weights(read_weights_file(pathlib.Path(weights).expanduser()))
    if path := os.environ.get(ENVIRONMENT_VARIABLE):
        try:
            return _as_weights(read_weights_file(pathlib.Path(path).expanduser()))
        except InputError as error:
            raise InputError(f"{ENVIRONMENT_VARIABLE}: {error}") from error
    return _load_official()


def import_weights(path: str | pathlib.Path) -> StoredWeights:
    """Returns where in the cache the weights of a file now lie, all of its tensors checked.

    Official weights are from now on what "auto" loads. Any others keep a name of their own and
    are loaded only where that path is given.

    Raises:
      InputError: The file does not exist or does not hold the network.
      WeightsUnavailableError: The cache cannot be written.
    """
    file = read_weights_file(pathlib.Path(path).expanduser())
    target = _cache_path(file.source_sha256)
    with _writing_cache():
        write_weights_file(target, file)
    return _as_stored(target, file)


def download_weights() -> StoredWeights:
    """Returns where in the cache the official weights lie, downloading them if they do not yet.

    Of several processes one downloads and the others wait. A damaged file is replaced.

    Raises:
      WeightsUnavailableError: They cannot be had, or the cache cannot be written.
    """
    release = official_release()
    target = _cache_path(release.sha256)
    with _writing_cache(), _lock(cache_dir()):
        with contextlib.suppress(InputError):
            return _as_stored(target, _read_official(target, release))
        archive = cache_dir() / release.file
        download(release.url, archive, size_bytes=release.size_bytes, sha256=release.sha256)
        stored = import_weights(archive)
        archive.unlink()
    return stored


def weights_status() -> WeightsStatus:
    """Returns what "auto" would load and what lies in the cache, each file read and checked."""
    stored, damaged = [], []
    for path in sorted(cache_dir().glob(f"*{SUFFIX}")):
        try:
            stored.append(_as_stored(path, read_weights_file(path)))
        except InputError as error:
            damaged.append(str(error))
    environment = os.environ.get(ENVIRONMENT_VARIABLE) or None
    return WeightsStatus(
        official_release(), environment, cache_dir(), tuple(stored), tuple(damaged)
    )


def cache_dir() -> pathlib.Path:
    """Returns the folder of converted weights in the user's cache, which may not exist yet."""
    return pathlib.Path(platformdirs.user_cache_dir("jaxfid")) / "weights"


def official_release() -> Release:
    """Returns the release that "auto" stands for: the first of the manifest."""
    return load_manifest()[0]


def _load_official() -> Weights:
    release = official_release()
    path = _cache_path(release.sha256)
    try:
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
            + "".join(f"\nImported, but not official: {path}" for path in _unrecognised_paths())
        ) from error


def _unrecognised_paths() -> list[pathlib.Path]:
    return sorted(cache_dir().glob(f"{_UNRECOGNISED}-*{SUFFIX}"))


def _read_official(path: pathlib.Path, release: Release) -> WeightsFile:
    file = read_weights_file(path)
    if file.source_sha256 != release.sha256:
        raise InputError(
            f"{path}: expected the weights of sha256 {release.sha256}, "
            f"found those of {file.source_sha256}; delete the file"
        )
    return file


def _make_untrained() -> Weights:
    params = untrained_params()
    flat = {
        f"{path}.{part}": array for path, layer in _flatten(params) for part, array in layer.items()
    }
    return Weights("untrained", tensors_sha256(flat), False, params)


def _flatten(params: Params, prefix: str = "") -> Iterator[tuple[str, dict]]:
    for name, value in params.items():
        if "kernel" in value:
            yield prefix + name, value
        else:
            yield from _flatten(value, f"{prefix}{name}.")


def _name(file: WeightsFile) -> tuple[str, bool]:
    """The weights' name, and whether it is a release's."""
    for release in load_manifest():
        if release.sha256 == file.source_sha256:
            return release.name, True
    return f"unrecognised weights ({file.source_name})", False


def _as_weights(file: WeightsFile) -> Weights:
    name, official = _name(file)
    return Weights(name, file.source_sha256, official, fold_params(file.tensors))


def _as_stored(path: pathlib.Path, file: WeightsFile) -> StoredWeights:
    name, official = _name(file)
    return StoredWeights(path, name, file.source_sha256, official)


def _cache_path(sha256: str) -> pathlib.Path:
    names = {release.sha256: release.name for release in load_manifest()}
    return cache_dir() / f"{names.get(sha256, _UNRECOGNISED)}-{sha256[:16]}{SUFFIX}"


@contextlib.contextmanager
def _writing_cache() -> Iterator[None]:
    """Creates the cache; what the file system refuses is said with a way out."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise WeightsUnavailableError(
            f"{cache_dir()}: the cache cannot be written: {error.strerror}. Name a weights file "
            f"instead (--weights PATH or {ENVIRONMENT_VARIABLE}=PATH), or set XDG_CACHE_HOME"
        ) from error


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[None]:
    """Holds the folder for this process; the system lets go of it however the process ends."""
    with (folder / "lock").open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("waiting for another process that fetches the weights", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
