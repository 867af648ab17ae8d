"""Samples: what is kept of one set of images so that every metric asked for can be computed."""

import contextlib
import dataclasses
import functools
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxfid.checks import Origin
from jaxfid.engine.accumulators import DeviceMoments
from jaxfid.engine.devices import is_cpu, local_mesh
from jaxfid.engine.feature_pass import FeaturePass, run_pass
from jaxfid.errors import InputError
from jaxfid.images.batches import Batches
from jaxfid.images.interface import ImageSource
from jaxfid.images.sources import open_source
from jaxfid.inception.extractor import Extractor, make_inception_extractor
from jaxfid.inception.resize import reduce_on_host
from jaxfid.inception.weights import Weights, load_weights
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats, is_stats_file, load_stats

Images = str | Path | np.ndarray | Sequence[np.ndarray] | ImageSource | Stats
"""Anything that can be scored: a path to images or statistics, an array, a sequence, a source, statistics."""

ROWS_PER_CPU_DEVICE, ROWS_PER_ACCELERATOR = 32, 256


@dataclasses.dataclass(frozen=True)
class Sample:
    """What is known of one set.

    Attributes:
      name: The set, as the user named it.
      stats: Mean and covariance of its features, with count and provenance where they are known.
      skipped: Files left out and why.
    """

    name: str
    stats: Stats
    skipped: Sequence[Mapping[str, str]] = ()

    def describe(self) -> dict[str, Any]:
        """Returns what a result says of its reference."""
        return {
            "name": self.name,
            "num_images": self.stats.count,
            "skipped": list(self.skipped),
            "provenance": self.stats.provenance,
        }


def open_images(images: Images, settings: Settings) -> ImageSource | Sample:
    """Returns the sample itself where it is statistics already, else the source of its images.

    Raises:
      InputError: The file or argument is neither, or is not what it should be.
    """
    if isinstance(images, Stats):
        return Sample("statistics", images)
    if isinstance(images, str | Path) and is_stats_file(images):
        return Sample(str(images), load_stats(images))
    source = open_source(images)
    if settings.limit is None or settings.limit >= len(source):
        return source
    chosen = np.random.default_rng(settings.seed).choice(len(source), settings.limit, replace=False)
    return source.take(np.sort(chosen).tolist())


class Sampler:
    """Turns sources into samples: holds the weights and the compiled network, made when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @functools.cached_property
    def weights(self) -> Weights:
        """The network's weights."""
        return load_weights(self._settings.weights)

    @functools.cached_property
    def _feature_pass(self) -> FeaturePass:
        return FeaturePass(self._extractor, local_mesh(self._settings.devices))

    @property
    def _extractor(self) -> Extractor:
        s = self._settings
        return make_inception_extractor(
            self.weights, s.protocol, features=(str(s.dims),), precision=s.precision
        )

    def provenance(self) -> dict[str, Any]:
        """Returns what statistics made by this sampler depend on."""
        return {
            "protocol": self._settings.protocol.name,
            "dims": self._settings.dims,
            "weights_name": self.weights.name,
            "weights_sha256": self.weights.sha256,
            "weights_official": self.weights.official,
            "precision": self._settings.precision,
        }

    def origin(self, images: ImageSource | Sample) -> Origin:
        """Returns where the features of a set come from, or will come from."""
        if isinstance(images, Sample):
            return Origin(images.name, len(images.stats.mean), images.stats.provenance)
        return Origin(images.name, self._settings.dims, self.provenance())

    def sample(self, images: ImageSource | Sample) -> Sample:
        """Returns the sample of a source's images; what is a sample already comes back as it is.

        Raises:
          InputError: An image cannot be read, and `on_error` is "fail"; or fewer than two can.
        """
        return images if isinstance(images, Sample) else self._run(images)

    def _run(self, source: ImageSource) -> Sample:
        s, mesh = self._settings, self._feature_pass.mesh
        batches = Batches(
            source,
            batch_size=self._batch_size(len(source)),
            num_workers=s.num_workers,
            on_error=s.on_error,
            reduce=functools.partial(reduce_on_host, protocol=s.protocol),
        )
        kept = DeviceMoments(str(s.dims), s.dims, mesh)
        with self._progress(source) as bar:
            run_pass(self._feature_pass, batches, [kept], advance=bar.update)
        moments = kept.moments().total_over(0)
        count = int(moments.count)
        if count < 2:
            raise InputError(f"{source.name}: a covariance needs at least 2 images, found {count}")
        provenance = {**self.provenance(), "source": source.name, "versions": versions()}
        stats = Stats(moments.mean(), moments.cov(), count, provenance)
        return Sample(source.name, stats, [dataclasses.asdict(s) for s in batches.skipped])

    def _batch_size(self, num_images: int) -> int:
        """What was asked for or fits the devices; no larger than the set, a multiple of the devices."""
        mesh = self._feature_pass.mesh
        rows = ROWS_PER_CPU_DEVICE if is_cpu(mesh) else ROWS_PER_ACCELERATOR
        wanted = min(self._settings.batch_size or rows * mesh.size, num_images)
        return -(-wanted // mesh.size) * mesh.size

    @contextlib.contextmanager
    def _progress(self, source: ImageSource) -> Iterator[Any]:
        hidden = not self._settings.progress
        with tqdm(total=len(source), desc=source.name, unit=" images", disable=hidden) as bar:
            yield bar


def versions() -> dict[str, str]:
    """Returns the versions of everything that could move a number."""
    packages = ("jaxfid", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow")
    return {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}}


def environment() -> dict[str, Any]:
    """Returns versions, and the devices that this process computes on."""
    devices = jax.local_devices()
    return {
        "versions": versions(),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "num_devices": len(devices),
    }
