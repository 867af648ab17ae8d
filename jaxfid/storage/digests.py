"""SHA-256 digests of content, which identify files, arrays and settings."""

import hashlib
import json
import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from jaxfid.storage.files import open_file, reading
from jaxfid.storage.streams import ByteReader

_BLOCK_BYTES = 1 << 20


def digest_bytes(data: bytes) -> str:
    """Returns the digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def digest_text(text: str) -> str:
    """Returns the digest of a text; a file name that is not UTF-8 has one as well."""
    # Python keeps a name that is not UTF-8 as lone surrogates, which plain UTF-8 refuses.
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def digest_json(value: object) -> str:
    """Returns the digest of what JSON can hold; the order of an object's names does not matter."""
    return digest_text(json.dumps(value, sort_keys=True, separators=(",", ":")))


def digest_arrays(arrays: Mapping[str, ArrayLike]) -> str:
    """Returns the digest over each array's name, type, shape and numbers, in order of names.

    Layout in memory does not matter: a transposed view and its copy have one digest.
    """
    digest = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        # `ascontiguousarray` would make one axis of none, and so one digest of two shapes.
        array = np.asarray(value, order="C")
        # A list of JSON: no name can run into the type that follows it.
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.data)
    return digest.hexdigest()


def digest_stream(file: ByteReader) -> str:
    """Returns the digest of what is left of an open file, which is read to its end."""
    # `hashlib.file_digest` asks for a `readinto`, which files of a bucket need not have.
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def digest_file(path: str | os.PathLike[str]) -> str:
    """Returns the digest of a file's bytes.

    Raises:
      InputError: The file cannot be read.
    """
    with open_file(path) as file, reading(path):
        return digest_stream(file)
