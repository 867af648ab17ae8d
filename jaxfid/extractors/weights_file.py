"""Weights files: torch checkpoints and our safetensors, with the digest by which they are known.

A safetensors file written here holds the checkpoint's own tensors, the name and sha256 of the file
they were read from, and a digest over all of that, so that a damaged or edited copy is seen.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import secrets
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from jaxfid.errors import InputError
from jaxfid.extractors.inception.checkpoint import check_tensors
from jaxfid.extractors.torch_checkpoint import read_torch_tensors

SUFFIX = ".safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class WeightsFile:
    """The network's tensors as a file holds them.

    Attributes:
      source_name: Name of the file that the tensors were first read from.
      source_sha256: Its digest, which stays with them through conversion.
      tensors: The tensors of the network by the checkpoint's names, all checked.
    """

    source_name: str
    source_sha256: str
    tensors: Mapping[str, np.ndarray]


def read_weights_file(path: pathlib.Path) -> WeightsFile:
    """Returns the tensors of a torch checkpoint, or of a safetensors file (by the suffix).

    Raises:
      InputError: The file cannot be read, is not what it says, or does not hold the network.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a weights file, found no file there")
    return _read_safetensors(path) if path.suffix == SUFFIX else _read_torch(path)


def _read_torch(path: pathlib.Path) -> WeightsFile:
    tensors, repeated = read_torch_tensors(path)
    _check(path, tensors, repeated)
    return WeightsFile(path.name, _file_sha256(path), tensors)


def _read_safetensors(path: pathlib.Path) -> WeightsFile:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no intact safetensors file: {error}") from error
    _check(path, tensors, ())
    if "content_sha256" not in metadata:  # written by another tool
        return WeightsFile(path.name, _file_sha256(path), tensors)
    weights = WeightsFile(
        metadata.get("source_name", ""), metadata.get("source_sha256", ""), tensors
    )
    if _content_sha256(weights) != metadata["content_sha256"]:
        raise InputError(
            f"{path}: its content is not what was written (content_sha256 differs); the file is "
            "damaged or was edited: delete it and import or download the weights again"
        )
    return weights


def _check(path: pathlib.Path, tensors: Mapping[str, np.ndarray], repeated: tuple) -> None:
    try:
        check_tensors(tensors, repeated)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_weights_file(path: pathlib.Path, weights: WeightsFile) -> None:
    """Leaves a safetensors file at `path`, whole or not at all, whoever else writes there."""
    # safetensors takes the address of the first number and no strides.
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in weights.tensors.items()}
    metadata = {
        "source_name": weights.source_name,
        "source_sha256": weights.source_sha256,
        "content_sha256": _content_sha256(weights),
    }
    temporary = path.with_name(f"{path.stem}-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(safetensors.numpy.save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _content_sha256(weights: WeightsFile) -> str:
    """Digest over the source's identity and over each tensor's name, type, shape and numbers."""
    digest = hashlib.sha256(json.dumps([weights.source_name, weights.source_sha256]).encode())
    digest.update(tensors_sha256(weights.tensors).encode())
    return digest.hexdigest()


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """Returns the digest over each tensor's name, type, shape and numbers, in order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, tensor.dtype.str, tensor.shape]).encode())
        digest.update(np.asarray(tensor, order="C").data)
    return digest.hexdigest()


def _file_sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
