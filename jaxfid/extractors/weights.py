"""Inception's weights: of a path, the user's cache, or the release they come from.

Weights whose bytes, or whose tensors, have a digest of `weights/manifest.json` carry that release's
name; all others are "unrecognised weights", may be used by naming their path, and are never what
"auto" loads.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors import manifest
from jaxfid.extractors.cache import (
    cache_dir,
    fetch_release,
    name_weights,
    official_path,
    read_weights_file,
    recognise,
)
from jaxfid.extractors.inception.checkpoint import (
    Params,
    check_tensors,
    fold_params,
    untrained_params,
)
from jaxfid.extractors.manifest import Release
from jaxfid.extractors.weights_file import WeightsFile
from jaxfid.storage.digests import digest_arrays
from jaxfid.storage.paths import as_path

ENVIRONMENT_VARIABLE = "JAXFID_WEIGHTS"


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


def official_release() -> Release:
    """Returns the release that "auto" stands for: the first of the manifest."""
    return manifest.load_manifest()[0]


CONVERTED = (
    "made by jaxfid 0.1, which kept a converted copy; nothing in it proves where it comes from. "
    "Run `jaxfid weights download`, or `jaxfid weights import` with the published file, and delete it"
)


def converted_paths() -> list[pathlib.Path]:
    """Returns what the first edition left in the cache."""
    return sorted(cache_dir().glob("*.safetensors"))


def _load_official() -> Weights:
    release = official_release()
    path = official_path(release)
    assert path is not None  # the digest of the FID's own network has long been public
    try:
        # Read again even after a download: the digest that counts is that of the bytes on the disk.
        if not path.exists():
            fetch_release(release)
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
            + "".join(f"\n{path}: {CONVERTED}" for path in converted_paths())
        ) from error


def _unrecognised_paths(official: pathlib.Path) -> list[pathlib.Path]:
    paths = sorted(cache_dir().glob("*/*"))
    return [path for path in paths if path.parent != official.parent]


def _read_network(path: str | os.PathLike[str]) -> WeightsFile:
    """The file's tensors, all checked to be the network's; a file of the cache is what it was."""
    place = as_path(path).expanduser()
    file = read_weights_file(place)
    try:
        check_tensors(file.tensors, file.repeated)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
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


def _as_weights(file: WeightsFile) -> Weights:
    release = recognise(file)
    name = name_weights(release, file.name)
    return Weights(name, file.sha256, release is not None, fold_params(file.tensors))
