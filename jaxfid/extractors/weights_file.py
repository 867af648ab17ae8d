"""Weights files: every format that holds tensors by name, and the digest by which a file is known."""

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from jaxfid.errors import InputError
from jaxfid.extractors.safetensors_file import is_safetensors, parse_safetensors
from jaxfid.extractors.torch_checkpoint import parse_torch
from jaxfid.storage.digests import digest_arrays, digest_bytes
from jaxfid.storage.files import read_file, stat_file
from jaxfid.storage.paths import as_path


@dataclasses.dataclass(frozen=True, eq=False)
class WeightsFile:
    """A file's bytes, once, and what they hold.

    Attributes:
      name: Name of the file.
      data: Its bytes.
      sha256: Their digest. Nothing that a file says of itself decides what it is.
      tensors: Arrays by name: read-only views of the bytes.
      repeated: Names that the file gives more than once.
    """

    name: str
    data: bytes = dataclasses.field(repr=False)
    sha256: str
    tensors: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    repeated: tuple[str, ...] = ()

    def tensors_sha256(self) -> str:
        """Returns the digest of the tensors, which stays the same through conversion."""
        return digest_arrays(self.tensors)


def read_tensors(path: str | os.PathLike[str]) -> WeightsFile:
    """Returns the tensors of a torch checkpoint, a TorchScript archive or a safetensors file.

    The file is read once: digest and tensors are of the same bytes, and the arrays are views of
    them. The content decides which format it is.

    Raises:
      InputError: There is no file, or it is damaged, hostile, or of another kind.
    """
    path = as_path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a weights file, found no file there")
    # As large as it is now: weights have no size that all of them stay below.
    data = read_file(path, max_bytes=stat_file(path).num_bytes)
    try:
        tensors, repeated = _parse(data, path.suffix)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return WeightsFile(path.name, data, digest_bytes(data), tensors, repeated)


def _parse(data: bytes, suffix: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    # The suffix only chooses which error a file gets that is neither.
    if is_safetensors(data) or suffix == ".safetensors":
        return parse_safetensors(data), ()
    return parse_torch(data)
