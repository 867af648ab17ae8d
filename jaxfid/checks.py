"""What must not be compared, and what a reader of a number has to be told."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxfid.errors import InputError
from jaxfid.stats.files import check_comparable


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the features of one set come from, or will come from.

    Attributes:
      name: The set, as the user named it.
      width: Features per image.
      provenance: Protocol, dims, weights and precision; None where a file does not say.
    """

    name: str
    width: int
    provenance: Mapping[str, Any] | None


def check_pair(reference: Origin, generated: Origin, *, allow_mismatch: bool = False) -> list[str]:
    """Returns what has to be said of a comparison of two sets.

    Args:
      reference: One side.
      generated: The other.
      allow_mismatch: Whether differing provenance is a warning instead of an error.

    Raises:
      InputError: The features have different widths, or were made under different protocols, dims, weights
        or precisions.
    """
    both = f"{generated.name} cannot be compared with {reference.name}"
    if reference.width != generated.width:
        raise InputError(
            f"{both}: {generated.width} features against {reference.width}; choose --dims"
        )
    unknown = [origin.name for origin in (reference, generated) if origin.provenance is None]
    if unknown:
        return [
            f"{' and '.join(unknown)}: the file does not say how it was made, so that protocol, weights "
            "and precision could not be checked"
        ]
    mismatches = check_comparable(reference.provenance, generated.provenance)
    if mismatches and not allow_mismatch:
        raise InputError(f"{both}: {'; '.join(mismatches)}. Make both under the same settings")
    return [f"{both}, yet was: {'; '.join(mismatches)}"] if mismatches else []


def warn_of_few_images(name: str, count: int | None, width: int) -> list[str]:
    """Returns a warning where a set has fewer images than its features have dimensions."""
    if count is None or count > width:
        return []
    return [
        f"{name}: {count} images for {width} features leave the covariance singular; the value is exact for "
        "these images, but far above what more images of the same kind would give: compare it only with "
        f"values of {count} images"
    ]


def warn_of_weights(provenance: Mapping[str, Any] | None) -> list[str]:
    """Returns a warning where the network is known not to be the one that defines the FID."""
    if provenance is None or provenance.get("weights_official", True):
        return []
    return [f"{provenance['weights_name']} are not the official weights: these values are no FIDs"]
