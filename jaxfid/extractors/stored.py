"""What the command `weights` does, for every network: status, download, import."""

import dataclasses
import os
import pathlib

from jaxfid.errors import InputError
from jaxfid.extractors import manifest
from jaxfid.extractors.cache import (
    cache_dir,
    check_stored,
    fetch_release,
    name_weights,
    official_path,
    read_weights_file,
    recognise,
    release_of,
    store,
    stored_paths,
)
from jaxfid.extractors.inception.checkpoint import check_tensors
from jaxfid.extractors.interface import INCEPTION
from jaxfid.extractors.manifest import Release, find_release
from jaxfid.extractors.published import say_license
from jaxfid.extractors.weights import (
    CONVERTED,
    ENVIRONMENT_VARIABLE,
    converted_paths,
    official_release,
)
from jaxfid.extractors.weights_file import WeightsFile
from jaxfid.storage.digests import digest_file
from jaxfid.storage.paths import as_path


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """A weights file in the cache.

    Attributes:
      path: Where it lies; `--weights PATH` takes it.
      name: The release's name, or "unrecognised weights (FILE)".
      sha256: Digest of the file.
      official: Whether it is a release of the manifest.
    """

    path: pathlib.Path
    name: str
    sha256: str
    official: bool


@dataclasses.dataclass(frozen=True)
class WeightsStatus:
    """What there is to load.

    Attributes:
      release: What "auto" stands for where the network is Inception.
      environment: Value of JAXFID_WEIGHTS, which "auto" follows there when it is set.
      cache_dir: The user's cache.
      stored: Intact files in the cache.
      damaged: What is wrong with each of the others.
      missing: Releases that do not lie there.
    """

    release: Release
    environment: str | None
    cache_dir: pathlib.Path
    stored: tuple[StoredWeights, ...]
    damaged: tuple[str, ...]
    missing: tuple[Release, ...]


def import_weights(path: str | os.PathLike[str], *, network: str | None = None) -> StoredWeights:
    """Returns where in the cache the weights of a file now lie, all of its tensors checked.

    Official weights are from now on what "auto" loads. Any others are loaded only where that path
    is given.

    Args:
      path: The file.
      network: The network whose weights they are; None for that of the release that they are, else
        Inception.

    Raises:
      InputError: The file does not exist or does not hold the network.
      WeightsUnavailableError: The cache cannot be written.
    """
    place = as_path(path).expanduser()
    file = read_weights_file(place)
    release = recognise(file)
    network = network or (release.networks[0] if release else INCEPTION)
    license = find_release(network).license
    try:
        _check(file, network)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    say_license(network, license)
    name = name_weights(release, file.name)
    return StoredWeights(store(file), name, file.sha256, release is not None)


def _check(file: WeightsFile, network: str) -> None:
    if network == INCEPTION:
        check_tensors(file.tensors, file.repeated)
        return
    from jaxfid.extractors.networks import (
        check_weights,  # imports Flax, which Inception does without
    )

    check_weights(network, file)


def download_weights(network: str = INCEPTION) -> StoredWeights:
    """Returns where in the cache a network's weights lie, downloaded if they do not lie there intact.

    Raises:
      InputError: There is no network of that name with published weights.
      WeightsUnavailableError: They cannot be had, or the cache cannot be written.
    """
    release = find_release(network)
    say_license(network, release.license)
    path = fetch_release(release)
    return StoredWeights(path, release.name, digest_file(path), True)


def weights_status() -> WeightsStatus:
    """Returns what "auto" would load and what lies in the cache, the digest of each file looked at."""
    stored, damaged = [], []
    for path in stored_paths():
        try:
            stored.append(_describe(path))
        except InputError as error:
            damaged.append(str(error))
    damaged += [f"{path}: {CONVERTED}" for path in converted_paths()]
    here = {found.path for found in stored}
    missing = [r for r in manifest.load_manifest() if official_path(r) not in here]
    environment = os.environ.get(ENVIRONMENT_VARIABLE) or None
    return WeightsStatus(
        official_release(),
        environment,
        cache_dir(),
        *(tuple(stored), tuple(damaged), tuple(missing)),
    )


def _describe(path: pathlib.Path) -> StoredWeights:
    sha256 = digest_file(path)
    check_stored(path, sha256)
    release = release_of(sha256)
    return StoredWeights(path, name_weights(release, path.name), sha256, release is not None)
