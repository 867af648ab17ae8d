"""The facade: sets of images, statistics or features in, numbers with their provenance out."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from jaxtyping import Float

from jaxfid.distributed.group import alone, one_evaluation
from jaxfid.errors import InputError
from jaxfid.extraction.image_set import (
    ExtractedSet,
    Images,
    ImageSet,
    Needs,
    check_vectors,
    open_image_set,
)
from jaxfid.images.interface import ImageSource
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.metrics.registry import MetricSpec, metric_options, metric_specs, split_names
from jaxfid.result import MetricValue, Result, SetResult
from jaxfid.scoring.agreement import require_agreement
from jaxfid.scoring.description import make_result
from jaxfid.scoring.evaluation import Evaluation
from jaxfid.scoring.per_class import score_per_class
from jaxfid.scoring.progress import holding_progress
from jaxfid.scoring.remarks import Origin, check_pair
from jaxfid.scoring.replicates import Grouping, Repeated, group_sets, with_models
from jaxfid.scoring.values import compute
from jaxfid.settings import Settings, SettingsDict
from jaxfid.stats.features import Features
from jaxfid.stats.files import Stats

# Any of these may be taken for a list by mistake, and most of them would be gone through as one.
_ONE_SET = (str, os.PathLike, np.ndarray, ImageSource, Stats, Features)

_OF_NETWORK = ("extractor", "protocol", "dims", "weights", "precision", "crop")
"""Settings that would mean nothing for a file that is only written anew."""


def compute_fid(
    reference: Images,
    generated: Images,
    *,
    num_images: int | None = None,
    **settings: Unpack[SettingsDict],
) -> float:
    """Returns the Frechet Inception Distance of one set of images from another.

    Args:
      reference: Real images (a folder, zip, tar or `.npz`/`.npy` file; a uint8 array `n h w 3`; an
        `ImageSource`), a statistics or features file, `Stats` or `Features`.
      generated: Likewise.
      num_images: As in `compute_metrics`.
      **settings: Fields of `Settings`: protocol, dims, weights, precision, batch_size and so on.

    Raises:
      InputError: An argument or a file is not what it should be; the message names it.
      WeightsUnavailableError: The weights are neither here nor to be fetched.

    Warns:
      UserWarning: What a reader of the number has to know: too few images, unrecognised weights.
    """
    # A number of another network under the name of the FID is what this function must never give.
    if settings.get("extractor") is not None:
        raise InputError("extractor: an FID is of Inception's features; call compute_metrics")
    names = split_names(settings.get("metrics"))
    if names is not None and not {"fid", "fd", "all"} & set(names):
        found = ", ".join(names)
        raise InputError(f"metrics: this gives the FID alone, found {found}; call compute_metrics")
    result = compute_metrics(reference, [generated], num_images=num_images, **settings)
    (scored,) = result.results
    for message in scored.warnings:
        warnings.warn(message, stacklevel=2)
    found = scored.metrics["fid"]
    if found.value is None:
        raise InputError(found.reason or "fid: could not be computed")
    return found.value


def compute_stats(
    images: Images,
    *,
    local: bool = False,
    num_images: int | None = None,
    **settings: Unpack[SettingsDict],
) -> Stats:
    """Returns mean, covariance, count and provenance of a set's features.

    Args:
      images: As in `compute_fid`.
      local: Of several processes, whether this one alone sees the images, all of them; the others need
        not call. Else all processes give the same images, and each sees its part.
      num_images: Take exactly so many of the images, drawn at random; fewer are an error.
      **settings: Fields of `Settings`; with metrics "fid,sfid" sFID's statistics come as well.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    with alone() if local else contextlib.nullcontext():
        return extract_stats(images, num_images=num_images, **settings)[0]


@one_evaluation
def extract_stats(
    images: Images, *, num_images: int | None = None, **settings: Unpack[SettingsDict]
) -> tuple[Stats, ExtractedSet]:
    """Returns the statistics of a set, and the set with all that is known of it.

    Args:
      images: As in `compute_fid`.
      num_images: As in `compute_stats`.
      **settings: As in `compute_stats`.
    """
    evaluation, image_set = _open_one(images, num_images, settings)
    (network,) = evaluation.extractors.values()
    of_reference, _ = evaluation.needs[network.name]
    needs = {network.name: Needs(moments=of_reference.moments)}
    with holding_progress(evaluation.settings):
        extracted = evaluation.extract_with(image_set, needs)
    stats = dict(extracted.by_extractor[network.name].stats)
    chosen = stats.pop(network.chosen)
    spatial = next(iter(stats.values()), None)
    return dataclasses.replace(chosen, spatial=spatial), extracted


def compute_features(
    images: Images, *, num_images: int | None = None, **settings: Unpack[SettingsDict]
) -> Features:
    """Returns the features of every image with the images' keys and all that the features depend on.

    Args:
      images: As in `compute_fid`.
      num_images: As in `compute_stats`.
      **settings: Fields of `Settings`; `dims` or `extractor` chooses the features.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    return extract_features_of(images, num_images=num_images, **settings)[0]


@one_evaluation
def extract_features_of(
    images: Images, *, num_images: int | None = None, **settings: Unpack[SettingsDict]
) -> tuple[Features, ExtractedSet]:
    """Returns the features of a set, and the set with all that is known of it."""
    evaluation, image_set = _open_one(images, num_images, settings)
    (network,) = evaluation.extractors.values()
    needs = {network.name: Needs(features=frozenset({network.chosen}))}
    with holding_progress(evaluation.settings):
        extracted = evaluation.extract_with(image_set, needs)
    found = extracted.by_extractor[network.name]
    left_out = {skipped["key"] for skipped in extracted.skipped}
    keys = None
    if image_set.source is not None:
        keys = tuple(key for key in image_set.source.keys if key not in left_out)
    return Features(found.features[network.chosen], keys, found.provenance), extracted


def _open_one(
    images: Images, num_images: int | None, choices: SettingsDict
) -> tuple[Evaluation, ImageSet]:
    settings = Settings(**choices)
    if len(settings.features.extractors) > 1:
        raise InputError("extractor: expected one network for one file, found several")
    opening = settings.features.opening(reference=True)
    image_set = open_image_set(images, num_images=num_images, **opening)
    # Before the devices start, which is a meeting of all processes that nobody can leave.
    require_agreement(settings, [image_set])
    if image_set.source is None and (given := [n for n in _OF_NETWORK if n in choices]):
        raise InputError(
            f"{image_set.name}: holds no images, so that no network sees any; leave out {', '.join(given)}"
        )
    return Evaluation(settings, [image_set]), image_set


@one_evaluation
def compute_metrics(
    reference: Images,
    generated: Sequence[Images] | Images,
    *,
    num_images: int | None = None,
    per_class: bool = False,
    replicates: Grouping | None = None,
    repeated: Repeated = "training",
    on_result: Callable[[SetResult], Any] = lambda result: None,
    **settings: Unpack[SettingsDict],
) -> Result:
    """Returns the scores of several sets against one reference, whose statistics are prepared once.

    Args:
      reference: As in `compute_fid`.
      generated: A list of sets, each as in `compute_fid`; one set by itself is refused.
      num_images: Score exactly so many images of each generated set, drawn at random by `seed`; a set of
        fewer is an error, where `limit` takes what there is.
      per_class: Score each class by itself as well: class folders, or the labels of a data set, which have
        to be the same on both sides. Frechet distances alone.
      replicates: Which sets are of one model: `{"A": ["runs/a0", "runs/a1"]}` by the sets' names or by their
        positions, or a regular expression whose first group names the model. The result has the model's
        mean, its spread and interval, and models are compared by them.
      repeated: What the sets of a model have not in common: its "training", or only the "sampling" of one
        trained network, which says nothing of another training.
      on_result: Called with each set's scores as soon as they are known.
      **settings: Fields of `Settings`.

    Raises:
      InputError: An argument or a file is not what it should be. As much as can be is checked before the
        first image is decoded.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    choices = Settings(**settings)
    if isinstance(generated, _ONE_SET):
        kind = type(generated).__name__
        raise InputError(f"generated: expected a list of sets, found one {kind}; give [it]")
    features = choices.features
    against = open_image_set(reference, **features.opening(reference=True))
    sets = [open_image_set(g, num_images=num_images, **features.opening()) for g in generated]
    groups = group_sets([image_set.name for image_set in sets], replicates)
    with holding_progress(choices):
        result = _score_sets(against, sets, choices, per_class, on_result)
    return with_models(result, groups, repeated)


def _score_sets(
    against: ImageSet,
    sets: Sequence[ImageSet],
    choices: Settings,
    per_class: bool,
    on_result: Callable[[SetResult], Any],
) -> Result:
    require_agreement(choices, [against, *sets])
    if per_class:
        result = score_per_class(against, sets, choices)
        for scored in result.results:
            on_result(scored)
        return result
    evaluation = Evaluation(choices, [against, *sets])
    # Every set is checked before the reference is seen, which may take an hour.
    notes = [evaluation.check(against, image_set) for image_set in sets]
    prepared = evaluation.extract_reference(against)
    results = []
    for image_set, known in zip(sets, notes, strict=True):
        extracted = evaluation.extract_generated(image_set)
        results.append(evaluation.score(prepared, extracted, known))
        on_result(results[-1])
    return make_result(evaluation.plan, prepared.image_set, results)


def compute_metrics_from_features(
    reference: Float[np.ndarray, "..."] | Features,
    generated: Float[np.ndarray, "..."] | Features,
    *,
    metrics: str | Sequence[str] = ("fd",),
    **options: Any,  # noqa: ANN401
) -> Mapping[str, MetricValue]:
    """Returns metrics of feature vectors of any origin, by name; no image is needed.

    Args:
      reference: Features of the reference, an array `(m, d)` or from `compute_features`.
      generated: Features of the generated images, of the same width.
      metrics: Names of metrics that are defined on any features: fd, kd, precision and so on; or "all".
      **options: Options of the metrics, such as `kid_subset_size`.

    Raises:
      InputError: The arrays are not what they should be, they are known to be of different networks or
        settings, or a metric is not defined on any features.
    """
    known = metric_options()
    for name, value in options.items():
        # As Python says it: `**options` would take any name in silence.
        if name not in known:
            raise TypeError(f"unexpected keyword argument: {name}")
        known[name].check(value)
    named = {"reference": reference, "generated": generated}
    given = {name: _as_features(side, name) for name, side in named.items()}
    check_pair(*(Origin(n, f.rows.shape[1], f.provenance) for n, f in given.items()))
    sets = [ImageSet(name, features=features) for name, features in given.items()]
    sides = [one.known({"features": "features"})["features"] for one in sets]
    chosen = {n: options.get(n, option.default) for n, option in known.items()}
    prepared = PreparedReference(sides[0], chosen="features", default="features")
    specs = _choose_any(metrics)
    pair = SetPair(prepared, sides[1], asked=[spec.name for spec in specs], options=chosen)
    return {spec.name: compute(spec, pair) for spec in specs}


def _as_features(features: Float[np.ndarray, "..."] | Features, name: str) -> Features:
    given = features if isinstance(features, Features) else Features(np.asarray(features))
    return check_vectors(given, name)


def _choose_any(metrics: str | Sequence[str]) -> list[MetricSpec]:
    """Returns the metrics asked for, each of which has to be defined on any features."""
    names = split_names(metrics) or ()
    general = {n: spec for n, spec in metric_specs().items() if spec.extractors is None}
    if wrong := [name for name in names if name not in {*general, "all"}]:
        raise InputError(
            f"metrics: expected names out of {', '.join(general)}, which are defined on any features, "
            f"found {', '.join(wrong)}"
        )
    return list(general.values()) if "all" in names else [general[name] for name in names]
