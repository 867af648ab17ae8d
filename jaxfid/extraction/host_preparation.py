"""What decode workers do to images before a pass, for one extractor or several that share the decoding."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from jaxfid.errors import InputError
from jaxfid.images.interface import ImageSource
from jaxfid.preprocessing.crop import crop_image
from jaxfid.preprocessing.protocol import Protocol
from jaxfid.preprocessing.resize import reduce_on_host

Reduce = Callable[[UInt8[np.ndarray, "h w 3"]], Float32[np.ndarray, "out out 3"]]


def crop_source(source: ImageSource, protocols: Sequence[Protocol]) -> ImageSource:
    """Returns the source with the crops of the protocols done when an image is read; the same without crops.

    Raises:
      InputError: The protocols crop differently: their extractors cannot share a decoding.
    """
    first = protocols[0]
    for other in protocols[1:]:
        if other.crops != first.crops:
            raise InputError(
                f"extractors: expected input rules of the same crops in one run, found {first.name} with "
                f"{list(first.crops)} and {other.name} with {list(other.crops)}; run them one by one"
            )
    return _CroppedSource(source, first.crops) if first.crops else source


class _CroppedSource(ImageSource):
    """Another source's images, cropped in the thread that reads them."""

    def __init__(self, source: ImageSource, crops: Sequence[str]) -> None:
        self.name, self.keys = source.name, source.keys
        self._source, self._crops = source, crops

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return crop_image(self._source.read(index), self._crops)


def choose_reduce(protocols: Sequence[Protocol]) -> Reduce:
    """Returns what brings a large image to the networks' size in a worker.

    Networks of several sizes or resize rules cannot share its result; the function then refuses.
    """
    if len({(protocol.resampling, protocol.size_px) for protocol in protocols}) == 1:
        return functools.partial(reduce_on_host, protocol=protocols[0])
    return functools.partial(_refuse_large, names=[protocol.name for protocol in protocols])


def _refuse_large(image: UInt8[np.ndarray, "h w 3"], names: Sequence[str]) -> np.ndarray:
    height, width, _ = image.shape
    raise InputError(
        f"an image of {height} x {width} pixels is too large for several input rules at once "
        f"({', '.join(names)}): crop it first, as in --crop adm:256, or run the extractors one by one"
    )
