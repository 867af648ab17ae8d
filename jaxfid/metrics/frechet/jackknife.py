"""Error bars without keeping features: the distance again and again, each time without one block."""

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError
from jaxfid.metrics.frechet.distance import frechet_distance_to
from jaxfid.metrics.frechet.factor import GaussianFactor
from jaxfid.stats.moments import Moments


def leave_one_block_out(reference: GaussianFactor, blocks: Moments) -> Float[np.ndarray, " blocks"]:
    """Returns the squared Frechet distance to the reference without each block of images in turn.

    Args:
      reference: From `prepare_reference`.
      blocks: Moments of the generated images with the blocks as leading axis. Images are dealt to
        blocks by index, so that a block is a random part even where the images are sorted by class.

    Raises:
      InputError: There are fewer than two blocks, or too few images for a covariance without one.
    """
    if len(blocks.count) < 2:
        raise InputError(f"blocks: expected 2 or more, found {len(blocks.count)}")
    whole = blocks.total_over(0)
    rests = (whole - blocks[b] for b in range(len(blocks.count)))
    return np.array([frechet_distance_to(reference, rest.mean(), rest.cov()) for rest in rests])


def jackknife_stderr(values: Float[np.ndarray, " blocks"]) -> float:
    """Returns the standard error of a statistic from its values without each of equal blocks.

    It measures the sampling of the images: how far another draw of as many from the same generator
    would move the value. It says nothing of another training seed, nor of the bias of few images.

    Source: Tukey 1958; Kuensch, The jackknife and the bootstrap, 1989.
    """
    num_blocks = len(values)
    return float(np.sqrt((num_blocks - 1) / num_blocks * np.square(values - values.mean()).sum()))


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far two sets lie apart in a metric of which less is better.

    Attributes:
      value: The second set's value less the first's.
      stderr: Its standard error. Blocks of one number are left out of both sets together, so that
        sets made from the same noise are compared as pairs; it holds for unrelated sets as well.
    """

    value: float
    stderr: float

    @property
    def conclusive(self) -> bool:
        """Whether the difference is more than two standard errors, about 19 in 20."""
        return abs(self.value) > 2 * self.stderr


def paired_difference(
    value_a: float,
    rests_a: Float[np.ndarray, " blocks"],
    value_b: float,
    rests_b: Float[np.ndarray, " blocks"],
) -> Difference:
    """Returns the difference b - a with its standard error, from values without each block."""
    rests = np.asarray(rests_b) - np.asarray(rests_a)
    return Difference(value_b - value_a, jackknife_stderr(rests))
