"""Image sets: opened (nothing decoded yet), then extracted (features known)."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxfid.errors import InputError
from jaxfid.extraction.fetched import fetch_set, is_url
from jaxfid.images.interface import ImageSource
from jaxfid.images.mirrored import MirroredSource
from jaxfid.images.sources import open_source
from jaxfid.stats.features import Features, is_features_file, load_features
from jaxfid.stats.files import Stats, is_stats_file, load_stats
from jaxfid.stats.layouts import check_features_array
from jaxfid.storage.npz import open_npz
from jaxfid.storage.paths import as_path

Images = str | os.PathLike[str] | np.ndarray | Sequence[Any] | ImageSource | Stats | Features
"""Anything that can be scored: a path to images, statistics or features, an array, a sequence, a source."""

SPATIAL = "spatial"
"""The features of sFID. ADM's files hold their statistics beside those of pool3."""


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a pass keeps of a set, by the names of features.

    Attributes:
      moments: Features whose mean and covariance are needed.
      rows: Features of which up to `MAX_KEPT_ROWS` rows are needed, for error bars.
      features: Features that are needed whole, image by image.
    """

    moments: frozenset[str] = frozenset()
    rows: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.moments | other.moments, self.rows | other.rows, self.features | other.features
        )

    def all(self) -> frozenset[str]:
        """Returns every feature that the network has to give."""
        return self.moments | self.rows | self.features


@dataclasses.dataclass(frozen=True)
class KeptFeatures:
    """Some rows of a feature, of images spread evenly over the set.

    Attributes:
      rows: The rows.
      indices: Positions of their images in the source.
    """

    rows: Float[np.ndarray, "n d"]
    indices: Int[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class ExtractedFeatures:
    """What is known of a set's features by one extractor.

    Attributes:
      provenance: What they depend on; None where a file does not say.
      stats: Mean and covariance by feature.
      rows: Some rows by feature.
      features: All rows by feature, in the order of the source.
    """

    provenance: Mapping[str, Any] | None = None
    stats: Mapping[str, Stats] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, KeptFeatures] = dataclasses.field(default_factory=dict)
    features: Mapping[str, Float[np.ndarray, "n d"]] = dataclasses.field(default_factory=dict)

    # All features are of the same images, so that any of them tells the number.
    @property
    def count(self) -> int | None:
        """Images; None for statistics that do not say."""
        counts = [s.count for s in self.stats.values()] + [len(f) for f in self.features.values()]
        return counts[0] if counts else None

    def width_of(self, feature: str, expected: int) -> int:
        """Returns the width of a feature: a file's own, whatever is expected of its network."""
        if feature in self.stats:
            return len(self.stats[feature].mean)
        return self.features[feature].shape[1] if feature in self.features else expected

    def missing(self, needs: Needs) -> Needs:
        """Returns what is needed and not known yet."""
        return Needs(
            needs.moments - set(self.stats),
            needs.rows - set(self.rows),
            needs.features - set(self.features),
        )

    def joined(self, other: "ExtractedFeatures") -> "ExtractedFeatures":
        """Returns what both know; where both know the same, the other's is taken."""
        return ExtractedFeatures(
            other.provenance or self.provenance,
            {**self.stats, **other.stats},
            {**self.rows, **other.rows},
            {**self.features, **other.features},
        )


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A set that was opened: its images, what a file tells of its features, or both (ADM's files).

    Attributes:
      name: The set, as the user named it.
      source: The images; None where the set is known by its features or statistics alone.
      stats: Statistics of a file.
      features: Features of a file.
    """

    name: str
    source: ImageSource | None = None
    stats: Stats | None = None
    features: Features | None = None

    @property
    def provenance(self) -> Mapping[str, Any] | None:
        """What the file says of its features; None without a file, or where it says nothing."""
        known = self.stats or self.features
        return None if known is None else known.provenance

    @property
    def width(self) -> int | None:
        """Width of the file's features; None without a file."""
        if self.stats is not None:
            return len(self.stats.mean)
        return None if self.features is None else self.features.rows.shape[1]

    def known(self, extractors: Mapping[str, str]) -> dict[str, ExtractedFeatures]:
        """Returns what the file tells, by the names of the extractors.

        A file holds features of one extractor: with several, the one that it names, else the first.

        Args:
          extractors: For each extractor's name, what it calls the features that the file holds.
        """
        found = dict.fromkeys(extractors, ExtractedFeatures())
        owner = next(iter(extractors))
        # With one extractor the file is taken to be its own: `check` finds out whether it is, and an
        # error that names the difference is better than one that finds no statistics.
        if len(extractors) > 1 and self.provenance is not None:
            owner = self.provenance.get("extractor", owner)
        if owner not in found:
            return found
        if self.stats is not None:
            stats = {extractors[owner]: self.stats}
            # Beside pool3 in one file: without it sFID would need the images again.
            if self.stats.spatial is not None:
                stats[SPATIAL] = self.stats.spatial
            found[owner] = ExtractedFeatures(self.provenance, stats)
        elif self.features is not None:
            feature, (stats, kept) = extractors[owner], self._summary
            found[owner] = ExtractedFeatures(
                self.provenance,
                {feature: stats},
                {feature: kept},
                {feature: np.asarray(self.features.rows)},
            )
        return found

    # Once: checks and metrics ask for it many times, and a covariance of many vectors takes seconds.
    @functools.cached_property
    def _summary(self) -> tuple[Stats, KeptFeatures]:
        """Moments of the file's features, and the rows that a pass over the images would have kept."""
        from jaxfid.stats.kept_rows import kept_indices  # imports JAX: opening a set does without

        assert self.features is not None
        rows = np.asarray(self.features.rows)
        width = rows.shape[1]
        cov = np.cov(rows, rowvar=False, dtype=np.float64).reshape(width, width)
        stats = Stats(rows.mean(0, dtype=np.float64), cov, len(rows), self.provenance)
        indices = kept_indices(len(rows))
        return stats, KeptFeatures(rows[indices], indices)


@dataclasses.dataclass(frozen=True)
class ExtractedSet:
    """A set whose features are known.

    Attributes:
      name: The set, as the user named it.
      by_extractor: The features by the names of the extractors.
      skipped: Files that could not be read, and why.
      source: Its images; None where there are none.
      remarks: Sentences about the values of its first images, where these look wrong.
    """

    name: str
    by_extractor: Mapping[str, ExtractedFeatures]
    skipped: Sequence[Mapping[str, str]] = ()
    source: ImageSource | None = None
    remarks: Sequence[str] = ()

    @property
    def count(self) -> int | None:
        """Images that were scored; None for statistics that do not say."""
        counts = (features.count for features in self.by_extractor.values())
        return next((count for count in counts if count is not None), None)

    @property
    def provenance(self) -> Mapping[str, Any] | None:
        """What the first extractor's features depend on."""
        return next((f.provenance for f in self.by_extractor.values() if f.provenance), None)


def check_vectors(features: Features, name: str) -> Features:
    """Returns the features as they are, once metrics can be computed of them.

    Raises:
      InputError: They are no floating vectors, or fewer than two.
    """
    count = len(check_features_array(features.rows, name))
    if count < 2:
        raise InputError(f"{name}: a covariance needs at least 2 vectors, found {count}")
    return features


def open_image_set(
    images: Images,
    *,
    limit: int | None = None,
    num_images: int | None = None,
    seed: int = 0,
    image_key: str | None = None,
    xflip: bool = False,
) -> ImageSet:
    """Returns the set before its images are decoded: its source, its statistics or its features.

    Args:
      images: What to open; a file of the web by `https://host/file#sha256=HEX`.
      limit: Take a random subset of so many images or vectors; None takes all. Statistics are of all.
      num_images: The same, but fewer images are an error, and statistics have to be of so many.
      seed: Seeds that subset.
      image_key: Which image of a sample is meant, as `open_source` takes it.
      xflip: Take each image and its mirror image.

    Raises:
      InputError: The file or argument is not what it should be.
    """
    if limit is not None and num_images is not None:
        raise InputError("limit, num_images: expected one of them, found both")
    size = num_images if limit is None else limit
    if isinstance(images, str) and is_url(images):
        fetched = _open(fetch_set(images), size, seed, image_key)
        opened = dataclasses.replace(fetched, name=images)
    else:
        opened = _open(images, size, seed, image_key)
    if num_images is not None:
        _check_count(opened, num_images)
    return _mirror(opened) if xflip else opened


def _mirror(opened: ImageSet) -> ImageSet:
    """The set with each image's mirror image: of those that were taken, as StyleGAN does."""
    if opened.source is None or opened.stats is not None:
        raise InputError(
            f"xflip: {opened.name} holds statistics or features, which are of the images as they are; "
            "make them of the mirrored images, jaxfid stats --xflip"
        )
    name = f"{opened.name}, each image and its mirror"
    return ImageSet(name, MirroredSource(opened.source, name=name))


def _check_count(opened: ImageSet, num_images: int) -> None:
    count = None if opened.stats is None else opened.stats.count
    if opened.source is not None:
        count = len(opened.source)
    elif opened.features is not None:
        count = len(opened.features.rows)
    if count != num_images:
        shown = "no number" if count is None else count
        raise InputError(
            f"num_images: expected {num_images} images of {opened.name}, found {shown}; limit takes up to so "
            "many, and statistics are of all of theirs"
        )


def _open(images: Images, limit: int | None, seed: int, image_key: str | None) -> ImageSet:
    if isinstance(images, Stats):
        return ImageSet("statistics", stats=images)
    if isinstance(images, Features):
        features = _select_vectors(images, limit, seed)
        return ImageSet("features", features=check_vectors(features, "features"))
    path = images if isinstance(images, str | os.PathLike) else None
    # Features first: a file of them could also be read as statistics, which have no error bar.
    if path is not None and is_features_file(path):
        features = _select_vectors(load_features(path), limit, seed)
        return ImageSet(str(path), features=check_vectors(features, str(path)))
    if path is None or not is_stats_file(path):
        source = open_source(images, image_key=image_key)
        return ImageSet(source.name, _select(source, limit, seed))
    stats = load_stats(path)
    # ADM's statistics are of all images and the pictures a part of them; precision needs pictures.
    source = _select(open_source(path), limit, seed) if _has_images_too(path) else None
    return ImageSet(str(path), source, stats)


def _has_images_too(path: str | os.PathLike[str]) -> bool:
    """Whether a statistics file carries its images as well, as ADM's reference files do."""
    if as_path(path).suffix != ".npz":
        return False
    with open_npz(path) as file:
        return "arr_0" in file.names


def _select(source: ImageSource, limit: int | None, seed: int) -> ImageSource:
    if limit is None or limit >= len(source):
        return source
    return source.take(_choose(len(source), limit, seed).tolist())


def _select_vectors(features: Features, limit: int | None, seed: int) -> Features:
    """Returns those of the images that `_select` would take, so that both give one value."""
    if limit is None or limit >= len(np.atleast_1d(features.rows)):
        return features
    chosen = _choose(len(features.rows), limit, seed)
    keys = None if features.keys is None else tuple(features.keys[i] for i in chosen)
    return dataclasses.replace(features, rows=features.rows[chosen], keys=keys)


def _choose(count: int, limit: int, seed: int) -> Int[np.ndarray, " n"]:
    # Random, because a set sorted by class would lose classes. Sorted, because archives are read faster so.
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))
