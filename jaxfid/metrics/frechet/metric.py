"""The Frechet distance as a metric: `fid`, `sfid`, `fd_*` and its extrapolation."""

import dataclasses

import numpy as np

from jaxfid.errors import InputError
from jaxfid.extraction.image_set import SPATIAL
from jaxfid.metrics.frechet.factor import GaussianFactor, factor_covariance
from jaxfid.metrics.frechet.infinity import (
    LEAST_IMAGES_PER_FEATURE,
    frechet_distance_infinity,
)
from jaxfid.metrics.frechet.influence import influence_stderr, within_classes
from jaxfid.metrics.frechet.scipy_check import frechet_distance_scipy
from jaxfid.metrics.frechet.solve import FrechetSolution, solve_frechet
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.metrics.registry import CHOSEN, MetricSpec
from jaxfid.result import MetricValue
from jaxfid.stats.gaussian import check_gaussian

NO_ROWS = (
    "no standard error: it needs features of single images, which a statistics file does not hold"
)
FEW_IMAGES = (
    f"no standard error: with fewer than {LEAST_IMAGES_PER_FEATURE} images per feature at the first "
    "point it would be too small"
)


SINGULAR = (
    "no standard error: with no more images than features it would be 0.8 to 1.4 of the true one"
)


def _prepare(reference: PreparedReference, feature: str) -> GaussianFactor:
    # Named, because the message stands on the line of a generated set.
    names = "mean of the reference", "covariance of the reference"
    stats = reference.features.stats[feature]
    mean, cov = check_gaussian(stats.mean, stats.cov, mean_name=names[0], cov_name=names[1])
    return factor_covariance(mean, cov, names[1])


def _compute(pair: SetPair, feature: str) -> MetricValue:
    stats = pair.generated.stats[feature]
    solution = solve_frechet(pair.reference.once(_prepare, feature), stats.mean, stats.cov)
    checked = _check(pair, feature) if pair.verify else None
    known = MetricValue(
        solution.value, checked=checked, stderr_reference=_reference_stderr(pair, feature, solution)
    )
    kept = pair.generated.rows.get(feature)
    if kept is None or stats.count is None:
        return dataclasses.replace(known, reason=NO_ROWS)
    if stats.count <= len(stats.mean):
        return dataclasses.replace(known, reason=SINGULAR)
    influence = solution.influence(kept.rows)
    labels = None if pair.labels is None else pair.labels[kept.indices]
    curvature = solution.curvature(kept.rows) if labels is None else None
    try:
        if labels is not None:
            influence = within_classes(influence, labels)
        stderr = influence_stderr(influence, stats.count, curvature=curvature)
    except InputError as error:  # too few images for a spread: the value holds without an error bar
        return dataclasses.replace(known, reason=str(error))
    return dataclasses.replace(known, stderr=stderr, influence=influence, curvature=curvature)


def _reference_stderr(pair: SetPair, feature: str, solution: FrechetSolution) -> float | None:
    """How far another sample of the reference would move the value; None without its features."""
    kept = pair.reference.features.rows.get(feature)
    count = pair.reference.features.stats[feature].count
    if kept is None or count is None or len(kept.rows) < 2:
        return None
    curvature = solution.reference_curvature(kept.rows)
    return influence_stderr(solution.reference_influence(kept.rows), count, curvature=curvature)


def _check(pair: SetPair, feature: str) -> float:
    a, b = pair.reference.features.stats[feature], pair.generated.stats[feature]
    return frechet_distance_scipy(a.mean, a.cov, b.mean, b.cov)


def _compute_chosen(pair: SetPair) -> MetricValue:
    return _compute(pair, pair.chosen)


def _compute_spatial(pair: SetPair) -> MetricValue:
    return _compute(pair, SPATIAL)


def _compute_infinity(pair: SetPair) -> MetricValue:
    features = np.asarray(pair.generated.features[pair.chosen])
    line = frechet_distance_infinity(pair.reference.once(_prepare, pair.chosen), features)
    details = {"slope": line.slope, "debiased": line.debiased}
    reason = FEW_IMAGES if line.stderr is None else None
    return MetricValue(line.value, stderr=line.stderr, reason=reason, details=details)


SPECS = (
    MetricSpec(
        "fd",
        _compute_chosen,
        moments=(CHOSEN,),
        rows=(CHOSEN,),
        heading="FID",
        inception_name="fid",
        prepare=lambda reference: reference.once(_prepare, reference.chosen),
    ),
    MetricSpec(
        "sfid",
        _compute_spatial,
        moments=(SPATIAL,),
        rows=(SPATIAL,),
        heading="sFID",
        extractors=("inception",),
    ),
    MetricSpec(
        "fd_infinity",
        _compute_infinity,
        moments=(CHOSEN,),
        generated_features=(CHOSEN,),
        heading="FID-inf",
        inception_name="fid_infinity",
    ),
)
