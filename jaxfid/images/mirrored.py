"""Each image of a source and its mirror image, as StyleGAN doubles its data sets."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxfid.images.interface import ImageSource

_REMARK = (
    "each image and its mirror image: stderr_reference takes the two for independent images, and may be "
    "1.4 times too small"
)


class MirroredSource(ImageSource):
    """The images of a source in their order, then the same mirrored left to right."""

    def __init__(self, source: ImageSource, *, name: str) -> None:
        self._source, self.name = source, name
        self.keys = [*source.keys, *(f"{key}#mirrored" for key in source.keys)]
        self.others, self.remarks = source.others, (*source.remarks, _REMARK)

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """The labels of the source, twice."""
        labels = self._source.labels
        return None if labels is None else [*labels, *labels]

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position."""
        image = self._source.read(index % len(self._source))
        return image if index < len(self._source) else image[:, ::-1]

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns what the source says of the image; the key tells which of the two it is."""
        return self._source.fingerprint(index % len(self._source), whole=whole)

    def version(self, index: int) -> str:
        """Returns what the source says of the image's file."""
        return self._source.version(index % len(self._source))
