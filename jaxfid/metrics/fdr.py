"""FDr: Frechet distances in several feature spaces, each as a multiple of that of real images."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError
from jaxfid.metrics.frechet.influence import influence_stderr
from jaxfid.metrics.joint import JointSpec
from jaxfid.metrics.pair import SetPair
from jaxfid.preprocessing.protocol import FDR
from jaxfid.result import MetricValue

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

EXTRACTORS = {
    "inception": "inception",
    "convnextv2_base": "convnextv2",
    "dinov2_vitl14": "dinov2",
    "mae_vitl16": "mae",
    "siglip2_so400m_256": "siglip2",
    "clip_vitl14_timm": "clip",
}
"""The six extractors, and what `IMAGENET_VALIDATION` calls their spaces."""

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
      influence: How far each kept image moves the value; None where it is not known in every space.
    """

    value: float
    ratios: Mapping[str, float]
    rounding: float
    influence: Float[np.ndarray, " n"] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )


def fdr6(
    distances: Mapping[str, float],
    *,
    influences: Mapping[str, Float[np.ndarray, " n"]] | None = None,
) -> Fdr:
    """Returns FDr^6 from the six Frechet distances of one generated set.

    The distances are to ImageNet's training set, each under the input rule `fdr`.

    Args:
      distances: By feature space; the names of `IMAGENET_VALIDATION`, all of them.
      influences: By feature space, each kept image's influence on that distance; the same images in
        the same order.

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
    influence = None if influences is None else mean_of_ratios(influences)
    return Fdr(float(np.mean(list(ratios.values()))), ratios, rounding, influence)


def mean_of_ratios(
    arrays: Mapping[str, Float[np.ndarray, " _"]],
) -> Float[np.ndarray, " n"]:
    """Returns what each image, or pair of images, adds to the value by what it adds to each distance.

    Raises:
      InputError: A feature space is missing or unknown, or they are of different images.
    """
    _check_names("influences", arrays)
    counts = {name: len(values) for name, values in arrays.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < 2:
        raise InputError(f"influences: expected the same 2 images or more, found {counts}")
    # The mean of ratios is linear in the distances, so its influence is that mean of theirs.
    return np.mean([arrays[name] / real for name, real in IMAGENET_VALIDATION.items()], axis=0)


def _check_names(argument: str, given: Mapping[str, object]) -> None:
    missing, unknown = IMAGENET_VALIDATION.keys() - given, given.keys() - IMAGENET_VALIDATION
    if missing or unknown:
        raise InputError(
            f"{argument}: expected exactly {', '.join(IMAGENET_VALIDATION)}, "
            f"found {', '.join(given) or 'none'}"
        )


def _compute(values: Mapping[str, MetricValue], pairs: Mapping[str, SetPair]) -> MetricValue:
    parts = {space: values[name] for name, space in EXTRACTORS.items()}
    failed = {space: part.reason for space, part in parts.items() if part.value is None}
    if failed:
        raise InputError("; ".join(f"{space}: {reason}" for space, reason in failed.items()))
    distances = {
        space: float(part.value) for space, part in parts.items() if part.value is not None
    }
    influences = {space: x for space, part in parts.items() if (x := part.influence) is not None}
    curvatures = {space: x for space, part in parts.items() if (x := part.curvature) is not None}
    is_known = len(influences) == len(parts)
    found = fdr6(distances, influences=influences if is_known else None)
    details = {"distances": distances, "ratios": dict(found.ratios), "rounding": found.rounding}
    known = MetricValue(found.value, details=details)
    if found.influence is None:
        return known
    curvature = mean_of_ratios(curvatures) if len(curvatures) == len(parts) else None
    # The influences of a set with labels are within its classes already.
    stderr = influence_stderr(found.influence, _count_images(pairs), curvature=curvature)
    return dataclasses.replace(known, stderr=stderr, influence=found.influence, curvature=curvature)


def _count_images(pairs: Mapping[str, SetPair]) -> int:
    """Images behind the distances: the same in every space."""
    pair = next(iter(pairs.values()))
    count = pair.generated.stats[pair.chosen].count
    assert count is not None  # else no distance had an influence
    return count


JOINT_SPECS = (
    JointSpec(
        "fdr6",
        _compute,
        part="fd",
        extractors=tuple(EXTRACTORS),
        protocol=FDR.name,
        heading="FDr^6",
        remark=f"fdr6: {DIGITS_REMARK}",
        why_no_stderr=NO_STDERR,
    ),
)
