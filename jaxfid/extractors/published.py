"""Weights of published networks: from a file that the user names, or random."""

import dataclasses
import functools
import math
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors.cache import cache_dir, official_path, read_weights_file
from jaxfid.extractors.checkpoint_layouts import Shape, convert_tensors
from jaxfid.extractors.layers import nest_params
from jaxfid.extractors.manifest import Release
from jaxfid.extractors.weights_file import WeightsFile
from jaxfid.storage.paths import as_path


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkWeights:
    """A network's parameters and what results say of them.

    Attributes:
      name: The file's name, "unrecognised weights (FILE)", or "untrained".
      sha256: Digest of the file; None where there is none.
      official: Whether that digest is the published one.
      params: Nested dict of float32 arrays.
    """

    name: str
    sha256: str | None
    official: bool
    params: Mapping[str, Any] = dataclasses.field(repr=False)


def load_network_weights(
    weights: str | os.PathLike[str],
    make_shapes: Callable[[], Mapping[str, Shape]],
    release: Release,
    *,
    network: str,
) -> NetworkWeights:
    """Returns the parameters of a network.

    Args:
      weights: Path of a checkpoint (`.pth`, `.pt` or `.safetensors`); "auto" for the release in the user's
        cache; or "untrained" for seeded random numbers.
      make_shapes: Gives the shapes of the parameters by dotted path; called once there are weights.
      release: What "auto" stands for. It is not downloaded by itself: it may be gigabytes.
      network: Its name, for messages.

    Raises:
      InputError: The file cannot be read or does not hold the network.
      WeightsUnavailableError: No file was named, and the release does not lie in the cache.
    """
    if weights == "untrained":
        return NetworkWeights("untrained", None, False, nest_params(draw_params(make_shapes())))
    path = _find_stored(release, network) if weights == "auto" else as_path(weights).expanduser()
    file = read_weights_file(path)
    params = _convert(file, path, make_shapes(), network)
    # By its bytes alone: a file's name or metadata can say anything.
    official = file.sha256 == release.sha256
    name = release.file if official else f"unrecognised weights ({path.name})"
    say_license(network, release.license)
    return NetworkWeights(name, file.sha256, official, nest_params(params))


def _find_stored(release: Release, network: str) -> pathlib.Path:
    path = official_path(release)
    if path is not None and path.exists():
        return path
    fetch = f"jaxfid weights download {network}; or " if path else ""
    raise WeightsUnavailableError(
        f"{network}'s weights are not in {cache_dir()}: {fetch}download {release.url} and name it, --weights "
        f"{release.file}; or a dry run, whose numbers mean nothing: --weights untrained"
    )


def _convert(
    file: WeightsFile, path: str | os.PathLike[str], shapes: Mapping[str, Shape], network: str
) -> dict[str, np.ndarray]:
    try:
        return convert_tensors(file.tensors, shapes, network=network, repeated=file.repeated)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


_PERMISSIVE = {"Apache-2.0", "MIT", "BSD-3-Clause"}


@functools.cache  # once for each network
def say_license(network: str, license: str) -> None:
    """Says on stderr that a licence is not permissive."""
    if license not in _PERMISSIVE:
        print(
            f"{network}: its weights are licensed {license}, which forbids commercial use",
            file=sys.stderr,
        )


def draw_params(shapes: Mapping[str, Shape]) -> dict[str, Float32[np.ndarray, "..."]]:
    """Returns random parameters, the same on every machine.

    Matrices are uniform with variance 1 / inputs, which keeps the scale of what is normalised before;
    vectors are as at the start of a training.
    """
    rng = np.random.default_rng(0)
    return {name: _draw(rng, name, shape) for name, shape in sorted(shapes.items())}


def _draw(rng: np.random.Generator, name: str, shape: Shape) -> Float32[np.ndarray, "..."]:
    if len(shape) == 1:
        is_factor = name.endswith((".gamma", ".weight"))
        return np.full(shape, 1.0 if is_factor else 0.0, np.float32)
    # Tokens and positions are no matrices: each number stands alone, and has variance 1.
    is_token = name.endswith(("_token", "_embed", "latent"))
    bound = np.float32(math.sqrt(3 / (1 if is_token else math.prod(shape[1:]))))
    numbers = rng.random(shape, np.float32)
    numbers -= np.float32(0.5)
    numbers *= 2 * bound  # in place: the largest network has 4.5 GB
    return numbers
