"""Error bars of a Frechet distance from one solve, by how far each image pulls it.

A distance is a smooth function of the mean of `x` and `x x^T` over the images. To first order its
sampling error is that of the mean of `influence(x)` (see `solve.FrechetSolution`), so its standard error
is that of any mean: the spread of the influences over the root of the number of images.
"""

import dataclasses

import numpy as np
from jaxtyping import Float64, Shaped

from jaxfid.errors import InputError

Influence = Float64[np.ndarray, " n"]
Labels = Shaped[np.ndarray, " n"]


def influence_stderr(influence: Influence, count: int, *, labels: Labels | None = None) -> float:
    """Returns the standard error of a Frechet distance from the influences of its images.

    It measures the sampling of the images: how far another draw of as many from the same generator
    would move the value. It says nothing of another training seed, nor of the bias of few images.

    Args:
      influence: From `FrechetSolution.influence`, of all images or of those kept.
      count: Images in the whole set, kept or not.
      labels: Classes of the same images where the set has a fixed number of each class. Such a set
        varies only within its classes, so that the error is smaller.

    Raises:
      InputError: There are too few images to tell a spread, or labels of others.
    """
    return float(np.sqrt(_variance(influence, labels) / count))


def _variance(influence: Influence, labels: Labels | None) -> float:
    if labels is None:
        labels = np.zeros(len(influence), bool)
    if len(labels) != len(influence):
        raise InputError(f"labels: expected {len(influence)} of them, found {len(labels)}")
    _, classes = np.unique(labels, return_inverse=True)
    sizes = np.bincount(classes)
    # A class takes one degree of freedom for its mean: one kept image alone tells no spread.
    freedom = len(influence) - len(sizes)
    if freedom < 1:
        raise InputError(
            "influence: expected 2 kept images or more in one class to tell an error, "
            f"found {len(influence)} in {len(sizes)}"
        )
    means = np.bincount(classes, influence) / sizes
    return float(np.sum(np.square(influence - means[classes])) / freedom)


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far two sets lie apart in a metric.

    Attributes:
      value: The second set's value less the first's.
      stderr: Its standard error.
    """

    value: float
    stderr: float

    @property
    def conclusive(self) -> bool:
        """Whether the difference is more than two standard errors, about 19 in 20."""
        return abs(self.value) > 2 * self.stderr


def paired_difference(
    value_a: float,
    influence_a: Influence,
    value_b: float,
    influence_b: Influence,
    count: int,
    *,
    labels: Labels | None = None,
) -> Difference:
    """Returns the difference b - a of two sets whose images of one index belong together.

    Two sets drawn from the same noise share a part of their sampling error, which leaves the
    difference. It holds as well where images of one index have nothing in common.

    Args:
      value_a: The first set's distance.
      influence_a: Influences of its kept images.
      value_b: The second set's distance from the same reference.
      influence_b: Influences of its images of the same indices.
      count: Images in each of the sets.
      labels: As in `influence_stderr`, the same for both sets.

    Raises:
      InputError: The sets did not keep as many images, or too few; then `unpaired_difference` is to
        be asked.
    """
    if len(influence_a) != len(influence_b):
        raise InputError(
            "influence_a, influence_b: expected images of the same indices, "
            f"found {len(influence_a)} and {len(influence_b)}"
        )
    stderr = influence_stderr(influence_b - influence_a, count, labels=labels)
    return Difference(value_b - value_a, stderr)


def unpaired_difference(
    value_a: float, stderr_a: float, value_b: float, stderr_b: float
) -> Difference:
    """Returns the difference b - a of two sets that share no noise: their variances add up."""
    return Difference(value_b - value_a, float(np.hypot(stderr_a, stderr_b)))
