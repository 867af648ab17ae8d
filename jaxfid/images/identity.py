"""What a set of images is, short enough to compare with another process's or an earlier run's."""

import hashlib
import weakref
from typing import Any

import numpy as np

from jaxfid.errors import InputError
from jaxfid.images.interface import ImageSource

NUM_LOOKED_AT = 16


_identified: weakref.WeakKeyDictionary[ImageSource, dict[str, Any]] = weakref.WeakKeyDictionary()


def identify_source(source: ImageSource) -> dict[str, Any]:
    """Returns the number of images, the digest of their listing and that of a few images' pixels.

    A listing holds names and sizes, which another draw of an array has in common with the first; pixels
    spread over the set tell the two apart. Images that are drawn are not looked at: their listing holds
    what they are drawn from, and each look would draw a chunk.
    """
    if source not in _identified:  # a listing of many files on a shared disk takes seconds
        _identified[source] = {
            "number of images": len(source),
            "listing": source.digest(),
            "pixels": None if source.drawn else _digest_of_a_few(source),
        }
    return _identified[source]


def _digest_of_a_few(source: ImageSource) -> str:
    digest = hashlib.sha256()
    for index in np.unique(np.linspace(0, len(source) - 1, NUM_LOOKED_AT).astype(int)).tolist():
        try:
            image = source.read(index)
            digest.update(f"{index} {image.shape}\n".encode() + image.tobytes())
        except InputError:  # the pass itself deals with it, as the user has chosen
            digest.update(f"{index} unreadable\n".encode())
    return digest.hexdigest()
