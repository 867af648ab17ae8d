"""jaxfid's own pieces put together as its facade does, so that a bench can run and time each alone."""

import functools
import os
from collections.abc import Iterable

import jax
import numpy as np
from jaxtyping import Float

from jaxfid.extraction.accumulators import DeviceMoments, FeatureStore
from jaxfid.extraction.decoding import prepare_image
from jaxfid.extraction.devices import local_mesh
from jaxfid.extraction.feature_pass import FeaturePass, run_pass
from jaxfid.extractors.inception.extractor import Extractor, make_inception_extractor
from jaxfid.extractors.weights import load_weights
from jaxfid.images.batches import Batch, Batches
from jaxfid.images.interface import ImageSource
from jaxfid.preprocessing.protocol import get_protocol
from jaxfid.stats.moments import Moments


def start_jax(num_devices: int | None = None) -> None:
    """Sets the number of CPU devices, one per core unless told, before JAX starts."""
    jax.config.update("jax_num_cpu_devices", num_devices or len(os.sched_getaffinity(0)))


def make_extractor(
    weights: str, protocol: str, features: Iterable[int | str], *, precision: str = "float32"
) -> Extractor:
    """Returns the Inception network as an extractor of the named features."""
    names = tuple(map(str, features))
    loaded = load_weights(weights)
    return make_inception_extractor(
        loaded, get_protocol(protocol), features=names, precision=precision
    )


class Pipeline:
    """An extractor on this process's devices.

    Attributes:
      batch_size: Images per step over all devices.
      network: From a batch to features, without waiting.
    """

    def __init__(
        self, extractor: Extractor, *, batch_size: int, num_devices: int | None = None
    ) -> None:
        self._extractor = extractor
        self.network = FeaturePass(extractor, local_mesh(num_devices))
        num = self.network.mesh.size
        self.batch_size = -(-batch_size // num) * num

    def batches(self, source: ImageSource, *, num_workers: int = 2) -> Batches:
        """Returns the source's images, decoded in the background while they are iterated."""
        prepare = functools.partial(prepare_image, protocol=self._extractor.protocol)
        return Batches(source, batch_size=self.batch_size, num_workers=num_workers, prepare=prepare)

    def moments(self, batches: Iterable[Batch]) -> Moments:
        """Returns the sums over the extractor's one feature, having waited for them."""
        ((name, width),) = self._extractor.widths.items()
        kept = DeviceMoments(name, width, self.network.mesh)
        run_pass(self.network, batches, [kept])
        return kept.moments().total_over(0)

    def features(self, batches: Iterable[Batch]) -> dict[str, Float[np.ndarray, "n d"]]:
        """Returns every feature of every image, on the host."""
        stores = {name: FeatureStore(name) for name in self._extractor.widths}
        run_pass(self.network, batches, stores.values())
        return {name: store.features() for name, store in stores.items()}
