"""An extractor on this process's devices: the pass of the product, and its halves alone."""

from collections.abc import Iterable

import jax
from jaxtyping import Array

from jaxfid.extraction.accumulators import make_moments
from jaxfid.extraction.decoding import JointBatch, JointBatches
from jaxfid.extraction.devices import local_mesh
from jaxfid.extraction.extract import ExtractOptions, Request, choose_batch_size, extract
from jaxfid.extraction.feature_pass import FeaturePass, run_pass
from jaxfid.extraction.image_set import ImageSet, Needs
from jaxfid.extractors.interface import Extractor
from jaxfid.extractors.registry import LoadOptions, load_extractor
from jaxfid.images.batches import Batch
from jaxfid.images.cores import count_usable_cores
from jaxfid.images.interface import ImageSource
from jaxfid.preprocessing.protocol import get_protocol
from jaxfid.result import SetResult
from jaxfid.stats.files import Stats
from jaxfid.stats.moments import Moments


def start_jax(num_devices: int | None = None) -> None:
    """Sets the number of CPU devices before JAX starts: one for each core, unless told."""
    jax.config.update("jax_num_cpu_devices", num_devices or count_usable_cores())


def make_inception(
    weights: str, protocol: str, feature: str, *, precision: str = "float32"
) -> Extractor:
    """Returns the Inception network as an extractor of one feature."""
    options = LoadOptions(weights, precision, get_protocol(protocol), features=(feature,))
    return load_extractor("inception", options)


def fid_of(scored: SetResult) -> float:
    """Returns the FID of a set; a set without one ends the bench."""
    found = scored.metrics["fid"]
    if found.value is None:
        raise SystemExit(f"{scored.generated}: {found.reason}")
    return found.value


class Pipeline:
    """One feature of an extractor, from images to sums.

    Attributes:
      batch_size: Images per step over all devices.
    """

    def __init__(
        self,
        extractor: Extractor,
        *,
        batch_size: int | None = None,
        largest: int,
        num_workers: int | None = 2,
    ) -> None:
        """Takes the extractor and how images are seen.

        Args:
          extractor: The network.
          batch_size: Images per step; None chooses for the devices, as the product does.
          largest: Images of the largest source.
          num_workers: Decoding threads.
        """
        self._extractor = extractor
        self.batch_size = choose_batch_size(batch_size, largest, None)
        self._options = ExtractOptions(self.batch_size, num_workers=num_workers)
        self._network = FeaturePass(extractor, local_mesh())

    def stats(self, source: ImageSource) -> Stats:
        """Returns mean and covariance over a source, by the pass of the product."""
        feature = self._extractor.default_feature
        request = Request(self._extractor, Needs(moments=frozenset({feature})))
        seen = extract(ImageSet(source.name, source), [request], self._options)
        return seen.by_extractor[self._extractor.name].stats[feature]

    def decode(self, source: ImageSource) -> Iterable[JointBatch]:
        """Returns the batches of a source, decoded in the background while they are iterated."""
        return JointBatches(
            source,
            [self._extractor.protocol],
            batch_size=self.batch_size,
            num_workers=self._options.num_workers,
        )

    def features(self, batch: Batch) -> Array:
        """Returns the features of a batch, padding included; does not wait for the devices."""
        return self._network(batch)[self._extractor.default_feature]

    def sums(self, batches: Iterable[Batch]) -> Moments:
        """Returns the sums over batches that were decoded before, having waited for them."""
        ((feature, width),) = self._extractor.widths.items()
        kept = make_moments(feature, width, self._network.mesh)
        run_pass(self._network, batches, [kept])
        return kept.moments()
