"""FID-infinity: the Frechet distance extrapolated to endlessly many generated images."""

import dataclasses
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import BLOCK_SIZE, Features, check_features
from jaxfid.metrics.frechet.distance import frechet_distance_to
from jaxfid.metrics.frechet.factor import GaussianFactor
from jaxfid.stats.moments import Moments, moments_of, zero_moments

LEAST_IMAGES = 5000


@dataclasses.dataclass(frozen=True)
class FrechetDistanceInfinity:
    """The intercept of a line through distances against 1 / number of generated images.

    Attributes:
      value: The intercept: the distance that endlessly many generated images would have.
      slope: The line's slope; `slope / n` is how much too large the distance of n images is.
      stderr: Standard error of the intercept from the scatter about the line. The points share
        images, so it says how well a line fits and not how much another sample would differ.
      num_images: How many generated images each point was computed from.
      distances: The distances at those points.
      debiased: The side that was extrapolated. The reference keeps the bias of its own size.
    """

    value: float
    slope: float
    stderr: float
    num_images: tuple[int, ...]
    distances: tuple[float, ...]
    debiased: Literal["generated"] = "generated"


def frechet_distance_infinity(
    reference: GaussianFactor,
    generated_features: Features,
    *,
    num_points: int = 15,
    least_images: int | None = None,
    seed: int = 0,
) -> FrechetDistanceInfinity:
    """Returns the Frechet distance extrapolated to infinitely many generated images.

    Chong and Forsyth 2020: the bias of a distance from n images is close to proportional to 1/n, so
    a line through the distances of random subsets of different sizes tells the unbiased value. Only
    the generated side is debiased; the reference is taken as it is.

    Sizes are equally spaced from `least_images` to all, and before each point the images are
    shuffled again by one `numpy.random.RandomState(seed)`, as the authors' code does after
    `numpy.random.seed(seed)`. Theirs starts at 5,000 of 50,000 images. A start below the number of
    features bends the line, which is why a smaller set starts at its half and not at a tenth.

    Args:
      reference: The reference's Gaussian, from `frechet.prepare_reference`.
      generated_features: Features of the generated images, of the reference's width.
      num_points: How many distances the line is fitted to.
      least_images: Images at the first point; None for 5,000 or half the set, whichever is less.
      seed: Seeds the shuffling.

    Raises:
      InputError: The features are no finite floating matrix of the reference's width, or there are
        too few images or points for a line.
    """
    check_features(2, generated_features=generated_features)
    sizes = _make_sizes(len(generated_features), num_points, least_images)
    rng = np.random.RandomState(seed)
    order = np.arange(len(generated_features))
    whole = _sum_moments(generated_features, order)
    distances = np.empty(num_points)
    for i, size in enumerate(sizes):
        rng.shuffle(order)
        if 2 * size <= len(order):
            moments = _sum_moments(generated_features, order[:size])
        else:
            moments = whole - _sum_moments(generated_features, order[size:])
        distances[i] = frechet_distance_to(reference, moments.mean(), moments.cov())
    value, slope, stderr = _fit_line(1 / sizes, distances)
    return FrechetDistanceInfinity(
        value, slope, stderr, tuple(sizes.tolist()), tuple(distances.tolist())
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


def _fit_line(
    x: Float64[np.ndarray, " p"], y: Float64[np.ndarray, " p"]
) -> tuple[float, float, float]:
    """Returns intercept, slope and the intercept's standard error, by ordinary least squares."""
    spread = np.sum(np.square(x - x.mean()))
    slope = np.sum((x - x.mean()) * y) / spread
    intercept = y.mean() - slope * x.mean()
    residuals = y - intercept - slope * x
    variance = np.sum(np.square(residuals)) / (len(x) - 2)
    stderr = np.sqrt(variance * (1 / len(x) + x.mean() ** 2 / spread))
    return float(intercept), float(slope), float(stderr)
