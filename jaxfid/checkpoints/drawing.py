"""How a comparison draws the images of its checkpoints."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxfid.checkpoints.defaults import SamplerPlacement
from jaxfid.checkpoints.find import Checkpoint
from jaxfid.checkpoints.labels import Labels
from jaxfid.checkpoints.sampler_arguments import ConfiguredSampler
from jaxfid.checkpoints.sampling import draw_from
from jaxfid.extraction.image_set import ImageSet
from jaxfid.preprocessing.value_range import ValueRange
from jaxfid.storage.digests import digest_json


@dataclasses.dataclass(frozen=True)
class Drawing:
    """All that the images depend on but the checkpoint; the same for every one.

    Attributes:
      configured: The user's function with its arguments.
      sampler: What tells it and its arguments from others.
      labels: The classes of the images; None where the sampler is asked for a number of images.
      num_images: How many images to draw from each.
      chunk_size: Images per call of `sample`.
      value_range: What black and white are in floating images; None for uint8.
      seed: Of the noise, where a checkpoint brings no noise seed of its own.
      num_devices: How many of this process's devices take the images; None for all.
      placement: Who calls the sampler.
    """

    configured: ConfiguredSampler
    sampler: Mapping[str, object]
    labels: Labels | None
    num_images: int
    chunk_size: int
    value_range: ValueRange | None
    seed: int
    num_devices: int | None
    placement: SamplerPlacement

    def open(self, checkpoint: Checkpoint) -> ImageSet:
        """Returns a checkpoint's images, which are drawn when they are read."""
        own_seed = checkpoint.noise_seed
        source = draw_from(
            checkpoint,
            self.configured.at(checkpoint),
            num_images=self.num_images,
            seed=self.seed if own_seed is None else own_seed,
            chunk_size=self.chunk_size,
            value_range=self.value_range,
            num_devices=self.num_devices,
            labels=self.labels,
            sampler_identity=digest_json([self.sampler, dict(checkpoint.swept)]),
            placement=self.placement,
        )
        return ImageSet(source.name, source)

    def describe(self, *, has_noise_seeds: bool) -> dict[str, Any]:
        """Returns what a comparison that goes on has to draw alike."""
        return {
            **self.sampler,
            # Only where there are labels, so that folders from before there were any go on.
            **({} if self.labels is None else {"labels": self.labels.identity}),
            "number of images": self.num_images,
            # Which noise seeds there are is no condition: a row has its own, and more may come.
            "seed": "of each row" if has_noise_seeds else self.seed,
            "chunk size": self.chunk_size,
            "value range": self.value_range,
        }
