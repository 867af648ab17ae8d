"""Error bars of a Frechet distance from one solve, by how far each image pulls it.

A distance is a smooth function of the means of `x` and `x x^T` over the images. To first order its
sampling error is that of the mean of the images' influences (see `solve.FrechetSolution`), so its standard
error is that of any mean: their spread over the root of the number of images.

Near the reference the first order vanishes. The distance then varies by its second order, and influences
at the sample instead of the population count that twice: the spread is 1.4 times too large. The mean square
of the curvature over pairs of images tells how much is counted twice, and it is taken off.

Simulated with 64 features, error bars are right to about 10 % on average from five images per feature on,
and up to 20 % too large from one on. With fewer images than features they are between 0.8 and 1.4 of the
truth. A single one scatters more the nearer the model is to the reference: by 4 to 10 % at a distance of a
sixth of the trace, by 15 to 40 % where the distributions are the same.

What they do not hold: another training seed of the model, and the bias of few images.
"""

import dataclasses

import numpy as np
from jaxtyping import Float64, Shaped

from jaxfid.errors import InputError

# The axes have no names, so that the functions below can say in words which of two sets is too short.
Influence = Float64[np.ndarray, " _"]
Curvature = Float64[np.ndarray, " _"]
Labels = Shaped[np.ndarray, " _"]


def influence_stderr(
    influence: Influence,
    count: int,
    *,
    curvature: Curvature | None = None,
) -> float:
    """Returns the standard error of a Frechet distance from the influences of its images.

    It says how far another draw of as many images from the same generator would move the value.
    `scripts/bench/calibration.py` compares it with that.

    Args:
      influence: From `FrechetSolution.influence`, of all images or of those kept; of a set with a fixed
        number of each class from `within_classes`.
      count: Images in the whole set, kept or not.
      curvature: From `FrechetSolution.curvature`. Without it the error bar is up to 1.4 times too large
        for a set that is close to the reference. It is known for sets without fixed classes alone.

    Raises:
      InputError: There are too few images to tell a spread.
    """
    if len(influence) < 2:
        raise InputError(
            f"influence: expected 2 kept images or more to tell an error, found {len(influence)}"
        )
    variance = float(np.var(influence, ddof=1))
    if curvature is not None and len(curvature):
        twice = float(np.mean(np.square(curvature))) / (2 * count)
        # Without any first order half is left; an estimate of less is wrong.
        variance = max(variance - twice, variance / 2)
    return float(np.sqrt(variance / count))


def within_classes(influence: Influence, labels: Labels) -> Influence:
    """Returns the influences of a set with a fixed number of each class, whose variance is theirs.

    Such a set varies only within its classes, so each influence is taken from its class's mean. A class
    takes a degree of freedom for its mean; the whole is scaled for that, so that the plain variance is the
    pooled one within classes. Differences of two such sets are then those of stratified samples too.

    Args:
      influence: As in `influence_stderr`.
      labels: Classes of the same images.

    Raises:
      InputError: They are labels of other images, or no class has two of them.
    """
    if len(labels) != len(influence):
        raise InputError(f"labels: expected {len(influence)} of them, found {len(labels)}")
    _, classes = np.unique(labels, return_inverse=True)
    sizes = np.bincount(classes)
    # Each class takes a degree of freedom for its mean, so that a class of one tells nothing.
    freedom = len(influence) - len(sizes)
    if freedom < 1:
        raise InputError(
            "influence: expected 2 kept images or more in one class to tell an error, "
            f"found {len(influence)} in {len(sizes)}"
        )
    means = np.bincount(classes, influence) / sizes
    return (influence - means[classes]) * np.sqrt((len(influence) - 1) / freedom)


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
    curvature_a: Curvature | None = None,
    curvature_b: Curvature | None = None,
) -> Difference:
    """Returns the difference b - a of two sets whose images of one index belong together.

    Two sets drawn from the same noise share a part of their sampling error, which the difference does
    not have. It holds as well where images of one index have nothing in common.

    Args:
      value_a: The first set's distance.
      influence_a: Influences of its kept images.
      value_b: The second set's distance from the same reference.
      influence_b: Influences of its images of the same indices.
      count: Images in each of the sets.
      curvature_a: As in `influence_stderr`, of the first set's kept images; both or none.
      curvature_b: Of the second set's.

    Raises:
      InputError: The sets did not keep as many images, which `unpaired_difference` is for, or too few.
    """
    if len(influence_a) != len(influence_b):
        raise InputError(
            "influence_a, influence_b: expected images of the same indices, "
            f"found {len(influence_a)} and {len(influence_b)}"
        )
    curvature = None
    if curvature_a is not None and curvature_b is not None:
        curvature = curvature_b - curvature_a
    influence = influence_b - influence_a
    stderr = influence_stderr(influence, count, curvature=curvature)
    return Difference(value_b - value_a, stderr)


def unpaired_difference(
    value_a: float, stderr_a: float, value_b: float, stderr_b: float
) -> Difference:
    """Returns the difference b - a of two sets that share no noise: their variances add up."""
    return Difference(value_b - value_a, float(np.hypot(stderr_a, stderr_b)))
