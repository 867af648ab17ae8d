"""FID-infinity: the Frechet distance extrapolated to infinitely many generated images."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int, Shaped

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import BLOCK_SIZE, Features, check_features
from jaxfid.metrics.frechet.factor import GaussianFactor
from jaxfid.metrics.frechet.influence import influence_stderr
from jaxfid.metrics.frechet.solve import FrechetSolution, solve_frechet
from jaxfid.stats.kept_rows import kept_indices
from jaxfid.stats.moments import Moments, moments_of, zero_moments

LEAST_IMAGES = 5000
LEAST_IMAGES_PER_FEATURE = 5
"""At the first point of a line that gets an error bar; below it, the simulated one is too small."""


@dataclasses.dataclass(frozen=True)
class FrechetDistanceInfinity:
    """The intercept of a line through distances against 1 / number of generated images.

    Attributes:
      value: The intercept: the distance that infinitely many generated images would have.
      slope: The slope of the line; `slope / n` is the bias of the distance of n images.
      stderr: Standard error of the intercept from the sampling of the generated images; None where
        the first point has fewer than 5 of them per feature, too few to tell it.
      num_images: How many generated images each point was computed from.
      distances: The distances at those points.
      debiased: The side that was extrapolated. The reference keeps the bias of its own size.
    """

    value: float
    slope: float
    stderr: float | None
    num_images: tuple[int, ...]
    distances: tuple[float, ...]
    debiased: Literal["generated"] = "generated"


def frechet_distance_infinity(
    reference: GaussianFactor,
    generated_features: Shaped[np.ndarray | Array, "..."],
    *,
    num_points: int = 15,
    least_images: int | None = None,
    seed: int = 0,
) -> FrechetDistanceInfinity:
    """Returns the Frechet distance extrapolated to infinitely many generated images.

    The bias of a distance from n images is nearly proportional to 1/n, so a line through the distances
    of random subsets of different sizes gives the unbiased value. Only the generated side is debiased;
    the reference is taken as it is.

    Sizes are equally spaced from `least_images` to all. Before each point the images are shuffled again
    by one `numpy.random.RandomState(seed)`, as the authors' code does after `numpy.random.seed(seed)`.
    Theirs starts at 5,000 of 50,000 images. A start below the number of features bends the line, which
    is why a smaller set starts at its half and not at a tenth.

    Args:
      reference: From `prepare_reference`.
      generated_features: Of shape `(n, d)`, `d` the reference's width.
      num_points: How many distances the line is fitted to.
      least_images: Images at the first point; None for 5,000 or half the set, whichever is less.
      seed: Seeds the shuffling.

    Raises:
      InputError: The features are not a finite floating matrix of the reference's width, or there are
        too few images or points for a line.

    Source: Chong and Forsyth, Effectively unbiased FID and Inception Score and where to find them, 2020.
    """
    check_features(2, generated_features=generated_features)
    sizes = _make_sizes(len(generated_features), num_points, least_images)
    distances = np.empty(num_points)
    for i, moments in enumerate(_subset_moments(generated_features, sizes, seed)):
        solution = solve_frechet(reference, moments.mean(), moments.cov())
        distances[i] = solution.value
    intercept, slope = _line_weights(1 / sizes)
    return FrechetDistanceInfinity(
        value=float(intercept @ distances),
        slope=float(slope @ distances),
        # The last point is the whole set, so that its solution has the images' influences.
        stderr=_stderr(solution, generated_features, sizes, intercept),
        num_images=tuple(sizes.tolist()),
        distances=tuple(distances.tolist()),
    )


def _make_sizes(
    num_images: int, num_points: int, least_images: int | None
) -> Int[np.ndarray, " p"]:
    least = min(LEAST_IMAGES, num_images // 2) if least_images is None else least_images
    sizes = np.linspace(least, num_images, max(num_points, 0)).astype(np.int64)
    if num_points < 3 or least < 2 or np.any(np.diff(sizes) < 1):
        raise InputError(
            "num_points, least_images: expected 3 or more different sizes of 2 images or more, "
            f"found {num_points} from {least} to {num_images} images"
        )
    return sizes


def _subset_moments(
    features: Features, sizes: Int[np.ndarray, " p"], seed: int
) -> Iterator[Moments]:
    rng = np.random.RandomState(seed)
    order = np.arange(len(features))
    whole = _sum_moments(features, order)
    for size in sizes:
        rng.shuffle(order)
        if 2 * size <= len(order):
            yield _sum_moments(features, order[:size])
        else:  # the images left out are fewer, and what they add is taken off
            yield whole - _sum_moments(features, order[size:])


def _sum_moments(features: Features, rows: Int[np.ndarray, " m"]) -> Moments:
    """Returns the moments of the chosen rows; blocks are padded, so that one step serves all."""
    moments = zero_moments(features.shape[1])
    with jax.enable_x64(True):
        for start in range(0, len(rows), BLOCK_SIZE):
            block = rows[start : start + BLOCK_SIZE]
            mask = np.arange(BLOCK_SIZE) < len(block)
            part = _block_moments(features[np.resize(block, BLOCK_SIZE)], mask)
            moments += jax.tree.map(np.asarray, part)
    return moments


@jax.jit
def _block_moments(rows: Float[Array, "n d"], mask: Bool[Array, " n"]) -> Moments:
    return moments_of(rows, mask)


def _line_weights(
    x: Float64[np.ndarray, " p"],
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Returns the weights with which the points' values add up to the intercept and the slope.

    The line is that of ordinary least squares, which is linear in the values.
    """
    centred = x - x.mean()
    slope = centred / (centred @ centred)
    return 1 / len(x) - x.mean() * slope, slope


def _stderr(
    solution: FrechetSolution,
    features: Features,
    sizes: Int[np.ndarray, " p"],
    weights: Float64[np.ndarray, " p"],
) -> float | None:
    """Returns the standard error of the intercept; None where the first point has too few images.

    To first order, a subset's distance is off by the mean influence of its images. That is the error of
    the whole set plus an error of its own, which is independent from point to point and has `N / n - 1`
    times the variance of the whole set's: subsets of `n` of `N` images are drawn without replacement.
    Few images have errors beyond first order. Simulated, the error bar is then up to 26 % too small.
    """
    count, width = features.shape
    if sizes[0] < LEAST_IMAGES_PER_FEATURE * width:
        return None
    kept = np.asarray(features[kept_indices(count)])
    of_whole = influence_stderr(solution.influence(kept), count)
    of_subsets = np.sum(np.square(weights) * (count / sizes - 1))
    return of_whole * float(np.sqrt(1 + of_subsets))
