"""What must not be compared, and what a reader of a number has to be told."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.errors import InputError
from jaxfid.extraction.image_set import ExtractedSet
from jaxfid.extractors.interface import INCEPTION
from jaxfid.images.interface import ImageSource
from jaxfid.images.listing import describe_others
from jaxfid.metrics.registry import ADM_METRICS
from jaxfid.provenance import diff_features
from jaxfid.scoring.plan import Plan

FEW_IMAGES = 10_000
"""Below this the bias of a Frechet distance is no longer small beside what is compared."""


POOL3_MANIFOLD = (
    "precision and recall here are of pool3, as ADM's; torch-fidelity's are of VGG16 (--extractor vgg16) and "
    "StyleGAN's of another (vgg16_stylegan): do not compare them"
)
ADM_DISTANCES = (
    "ADM's evaluator takes float16 distances for precision and recall, which move their third decimal; these "
    "are exact"
)
NEIGHBOUR_METRICS = frozenset({"precision", "recall", "density", "coverage"})


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
    """Returns what has to be said about a comparison of two sets.

    Args:
      reference: One side.
      generated: The other.
      allow_mismatch: Whether differing provenance is a warning instead of an error.

    Raises:
      InputError: The features have different widths, or were made under different protocols, dims, weights
        or precisions.
    """
    both = f"{generated.name} cannot be compared with {reference.name}"
    # Never allowed: there is no distance between vectors of two widths.
    if reference.width != generated.width:
        raise InputError(
            f"{both}: {generated.width} features against {reference.width}; choose --dims"
        )
    unknown = [origin.name for origin in (reference, generated) if origin.provenance is None]
    # Files of other tools do not say how they were made, and everyone has to be able to use them.
    if reference.provenance is None or generated.provenance is None:
        return [
            f"{' and '.join(unknown)}: the file does not say how it was made, so that protocol, weights "
            "and precision could not be checked"
        ]
    mismatches = diff_features(generated.provenance, reference.provenance)
    if mismatches and not allow_mismatch:
        raise InputError(f"{both}: {'; '.join(mismatches)}. Make both under the same settings")
    return [f"{both}, yet was: {'; '.join(mismatches)}"] if mismatches else []


def collect_warnings(
    plan: Plan, reference: ExtractedSet, generated: ExtractedSet, notes: Sequence[str]
) -> list[str]:
    """Returns what a reader of a set's values has to know, the gravest first, each once.

    Args:
      plan: The networks and their metrics.
      reference: With its features.
      generated: Likewise.
      notes: From `check_pair`.
    """
    both = (reference, generated)
    provenances = [f.provenance for side in both for f in side.by_extractor.values()]
    sizes: list[str] = []
    for name, network in plan.extractors.items():
        computed = plan.computed[name]
        sizes += warn_of_sizes(
            *((side.name, side.count) for side in both),
            width=generated.by_extractor[name].width_of(
                network.chosen, network.widths[network.chosen]
            ),
            frechet=any(spec.moments for spec in computed),
            neighbours=any(spec.name in NEIGHBOUR_METRICS for spec in computed),
        )
    remarks = [spec.remark for spec in plan.joint.values() if spec.remark]
    remarks += warn_of_words(plan)
    remarks += [r for side in both for r in warn_of_source(side.name, side.source)]
    remarks += [f"{side.name}: {remark}" for side in both for remark in side.remarks]
    # With several extractors the same sizes are warned of again.
    return list(dict.fromkeys([*warn_of_weights(provenances), *notes, *remarks, *sizes]))


def warn_of_words(plan: Plan) -> list[str]:
    """Returns what other tools print under the names of the metrics that are shown."""
    asked = set(plan.names())
    # Of other networks results are called by the network, which no tool's are.
    said = [POOL3_MANIFOLD] if asked & {"precision", "recall"} else []
    return [*said, ADM_DISTANCES] if asked >= set(ADM_METRICS) else said


def warn_of_sizes(
    reference: tuple[str, int | None],
    generated: tuple[str, int | None],
    *,
    width: int,
    frechet: bool = True,
    neighbours: bool = True,
) -> list[str]:
    """Returns what the numbers of images do to the metrics, where they do something.

    Args:
      reference: Name and number of images, None where it is not known.
      generated: Likewise.
      width: Features per image.
      frechet: Whether a metric of means and covariances was asked for.
      neighbours: Whether precision, recall, density or coverage was asked for.
    """
    counts = [count for _, count in (reference, generated) if count is not None]
    # Only about what was asked for: a KID has no bias that few images give a Frechet distance.
    warnings: list[str | None] = []
    if frechet:
        warnings += [
            _warn_of_few(name, n, width) for name, n in (reference, generated) if n is not None
        ]
    if neighbours and len(set(counts)) > 1:
        warnings.append(
            f"{generated[0]}: {generated[1]} images against {reference[1]}: precision, recall, density and "
            "coverage depend on both numbers; compare only values of the same two"
        )
    return [warning for warning in warnings if warning]


def _warn_of_few(name: str, count: int, width: int) -> str | None:
    if count <= width:
        return (
            f"{name}: {count} images for {width} features leave the covariance singular: a Frechet "
            f"distance of so few is far above that of more; compare it only with values of {count} images"
        )
    if count < FEW_IMAGES:
        return (
            f"{name}: with {count} images a Frechet distance is biased upwards by about as much as good "
            f"models differ: compare it only with values of {count} images"
        )
    return None


def warn_of_source(name: str, source: ImageSource | None) -> list[str]:
    """Returns what a reader has to know about the files of a set.

    Args:
      name: The set, as the user named it.
      source: Its images; None where there are none.
    """
    if source is None:
        return []
    # Each once: listings say what lies beside the images among their remarks, a user's source may not.
    remarks = dict.fromkeys([*source.remarks, *describe_others(source.others)])
    return [f"{name}: {remark}" for remark in remarks]


def warn_of_weights(provenances: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """Returns a warning where a network is known not to be the one that defines the FID.

    Args:
      provenances: What the features of either side depend on; None where a file does not say.
    """
    return list(dict.fromkeys(w for p in provenances if p is not None for w in _of_weights(p)))


def _of_weights(provenance: Mapping[str, Any]) -> list[str]:
    # A file that says nothing of its weights is told so by `check_pair`, and not accused here.
    if provenance.get("weights_official", True):
        return []
    network = provenance.get("extractor", INCEPTION)
    weights = provenance.get("weights_name", "weights without a name")
    if network != INCEPTION:
        name = f"fd_{network}"
        return [
            f"{name} is a Frechet distance of features of {network} ({weights}), no FID: compare it with "
            f"values of {name} alone"
        ]
    return [f"{weights} are not the official weights: these values are no FIDs"]
