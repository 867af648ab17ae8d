"""Several sources of the same kind as one, such as the shards that a sampler wrote."""

import bisect
import functools
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from jaxfid.images.interface import ImageSource


class JoinedSource(ImageSource):
    """The images of some sources, one source after another; a key is `source/key`.

    Attributes:
      sources: These, in their order.
    """

    def __init__(
        self,
        sources: Mapping[str, ImageSource],
        *,
        name: str,
        others: Sequence[str] = (),
        remarks: Sequence[str] = (),
    ) -> None:
        """Takes the sources by what keys are to call them, in their order, and what lies beside them."""
        self.name = name
        self.keys = [f"{prefix}/{key}" for prefix, source in sources.items() for key in source.keys]
        self.others, self.remarks = others, remarks
        self.sources = list(sources.values())
        self.is_remote = any(source.is_remote for source in self.sources)
        self._ends = list(itertools.accumulate(len(source) for source in self.sources))

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """The labels of all sources, or None where one has none."""
        labels = [source.labels for source in self.sources]
        found = [of for of in labels if of is not None]
        # Classes of a part of the images would be taken for those of all.
        return list(itertools.chain.from_iterable(found)) if len(found) == len(labels) else None

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position."""
        source, position = self._find(index)
        return source.read(position)

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns what the image's own source says."""
        source, position = self._find(index)
        return source.fingerprint(position, whole=whole)

    def version(self, index: int) -> str:
        """Returns what the image's own source says."""
        source, position = self._find(index)
        return source.version(position)

    def _find(self, index: int) -> tuple[ImageSource, int]:
        number = bisect.bisect_right(self._ends, index)
        return self.sources[number], index - (self._ends[number - 1] if number else 0)
