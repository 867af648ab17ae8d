"""Samples: what is known of one set of images, opened but not yet seen, or seen."""

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxfid.images.interface import ImageSource
from jaxfid.images.sources import open_source
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats, is_stats_file, load_stats
from jaxfid.stats.moments import Moments

Images = str | Path | np.ndarray | Sequence[np.ndarray] | ImageSource | Stats
"""Anything that can be scored: a path to images or statistics, an array, a sequence, a source, statistics."""

SPATIAL = "spatial"
"""The features of sFID, whose statistics ADM keeps beside the others."""


@dataclasses.dataclass(frozen=True)
class Needs:
    """What is to be kept of a set, by the names of features.

    Attributes:
      moments: Features whose mean and covariance are needed.
      features: Features that are needed themselves, image by image.
    """

    moments: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.moments | other.moments, self.features | other.features)

    def all(self) -> frozenset[str]:
        """Returns the features that the network has to give."""
        return self.moments | self.features


@dataclasses.dataclass(frozen=True)
class Sample:
    """What is known of one set.

    Attributes:
      name: The set, as the user named it.
      stats: Mean and covariance by feature.
      blocks: Moments by feature with blocks of images as leading axis, where error bars are wanted.
      features: The features themselves, in the order of the source, where they were needed.
      source: The images, None where the set is known by its statistics alone.
      skipped: Files left out and why.
    """

    name: str
    stats: Mapping[str, Stats] = dataclasses.field(default_factory=dict)
    blocks: Mapping[str, Moments] = dataclasses.field(default_factory=dict)
    features: Mapping[str, Float[np.ndarray, "n d"]] = dataclasses.field(default_factory=dict)
    source: ImageSource | None = None
    skipped: Sequence[Mapping[str, str]] = ()

    @property
    def count(self) -> int | None:
        """Images in the set; None for statistics that do not say."""
        counts = [len(f) for f in self.features.values()] + [s.count for s in self.stats.values()]
        return counts[0] if counts else None

    def missing(self, needs: Needs) -> Needs:
        """Returns what is needed and not known yet."""
        return Needs(needs.moments - set(self.stats), needs.features - set(self.features))

    def all_stats(self) -> Stats:
        """Returns the statistics of the features of `dims` with sFID's, if they are known, beside them."""
        (main,) = set(self.stats) - {SPATIAL}
        return dataclasses.replace(self.stats[main], spatial=self.stats.get(SPATIAL))

    def describe(self) -> dict[str, Any]:
        """Returns what a result says of its reference."""
        provenance = next((s.provenance for s in self.stats.values()), None)
        return {
            "name": self.name,
            "num_images": self.count,
            "skipped": list(self.skipped),
            "provenance": provenance,
        }


def open_images(images: Images, settings: Settings) -> Sample:
    """Returns the set before its images are seen: its source, its statistics, or (ADM's files) both.

    Raises:
      InputError: The file or argument is neither images nor statistics, or is not what it should be.
    """
    if isinstance(images, Stats):
        return _from_stats("statistics", images, settings)
    if not isinstance(images, str | Path) or not is_stats_file(images):
        source = open_source(images)
        return Sample(source.name, source=_select(source, settings))
    known = _from_stats(str(images), load_stats(images), settings)
    if not _has_images_too(Path(images)):
        return known
    return dataclasses.replace(known, source=_select(open_source(images), settings))


def _from_stats(name: str, stats: Stats, settings: Settings) -> Sample:
    known = {str(settings.dims): stats}
    return Sample(name, known if stats.spatial is None else {**known, SPATIAL: stats.spatial})


def _has_images_too(path: Path) -> bool:
    """Whether a statistics file carries its images as well, as ADM's reference files do."""
    return path.suffix == ".npz" and "arr_0.npy" in zipfile.ZipFile(path).namelist()


def _select(source: ImageSource, settings: Settings) -> ImageSource:
    if settings.limit is None or settings.limit >= len(source):
        return source
    chosen = np.random.default_rng(settings.seed).choice(len(source), settings.limit, replace=False)
    return source.take(np.sort(chosen).tolist())
