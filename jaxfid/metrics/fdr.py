"""FDr: Frechet distances in several feature spaces, each as a multiple of that of real images."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError

IMAGENET_VALIDATION = {
    "inception": 1.68,
    "convnextv2": 56.87,
    "dinov2": 14.19,
    "mae": 0.04,
    "siglip2": 0.60,
    "clip": 5.60,
}
"""The Frechet distance of ImageNet's validation set from its training set in each space, as published."""

DIGITS_REMARK = (
    "the published distance of MAE has one digit, 0.04: another rounding of it could move that "
    "space's ratio by an eighth"
)
"""To be said beside every FDr^6."""

NO_STDERR = (
    "the six distances are of the same images, so their errors are not independent; "
    "it takes the influences of the same kept images in every space"
)
"""Why there is no standard error where the influences are not known."""


@dataclasses.dataclass(frozen=True)
class Fdr:
    """The mean of six ratios; 1 is as far from the training set as real images are.

    Attributes:
      value: The mean.
      ratios: The ratio in each feature space.
      rounding: How far the value may be off because the published distance of MAE has one digit.
      stderr: Standard error from the sampling of the generated images; None without influences.
    """

    value: float
    ratios: Mapping[str, float]
    rounding: float
    stderr: float | None


def fdr6(
    distances: Mapping[str, float],
    *,
    influences: Mapping[str, Float[np.ndarray, " n"]] | None = None,
    num_images: int | None = None,
) -> Fdr:
    """Returns FDr^6 from the six Frechet distances of one generated set.

    The distances are to ImageNet's training set, each under the input rule `fdr`.

    Args:
      distances: By feature space; the names of `IMAGENET_VALIDATION`, all of them.
      influences: By feature space, each kept image's influence on that distance; the same images in
        the same order.
      num_images: Images behind the distances; None where all were kept.

    Raises:
      InputError: A feature space is missing or unknown, a distance is not finite, or influences are
        of different images.
    """
    _check_names("distances", distances)
    if bad := {name: x for name, x in distances.items() if not np.isfinite(x)}:
        raise InputError(f"distances: expected finite numbers, found {bad}")
    ratios = {name: distances[name] / real for name, real in IMAGENET_VALIDATION.items()}
    # 0.04 stands for 0.035 to 0.045; the lower end moves the ratio more.
    rounding = ratios["mae"] * (0.04 / 0.035 - 1) / len(ratios)
    stderr = None if influences is None else _stderr(influences, num_images)
    return Fdr(float(np.mean(list(ratios.values()))), ratios, rounding, stderr)


def _stderr(influences: Mapping[str, Float[np.ndarray, " n"]], num_images: int | None) -> float:
    _check_names("influences", influences)
    counts = {name: len(values) for name, values in influences.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < 2:
        raise InputError(f"influences: expected the same 2 images or more, found {counts}")
    # The mean of ratios is linear in the distances, so its influence is that mean of theirs.
    influence = np.mean([influences[n] / real for n, real in IMAGENET_VALIDATION.items()], axis=0)
    return float(influence.std(ddof=1) / np.sqrt(num_images or len(influence)))


def _check_names(argument: str, given: Mapping[str, object]) -> None:
    missing, unknown = IMAGENET_VALIDATION.keys() - given, given.keys() - IMAGENET_VALIDATION
    if missing or unknown:
        raise InputError(
            f"{argument}: expected exactly {', '.join(IMAGENET_VALIDATION)}, "
            f"found {', '.join(given) or 'none'}"
        )
