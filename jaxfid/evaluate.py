"""The facade: sets of images or statistics in, numbers with their provenance out."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from jaxfid.distributed.group import one_evaluation
from jaxfid.errors import InputError
from jaxfid.facts import require_agreement
from jaxfid.per_class import score_per_class
from jaxfid.result import Result, SetResult
from jaxfid.sampler import Sampler
from jaxfid.samples import Images, Sample, open_images
from jaxfid.scorer import Scorer
from jaxfid.scores import needs_of
from jaxfid.settings import Settings, SettingsDict
from jaxfid.stats.files import Stats


def compute_fid(reference: Images, generated: Images, **settings: Unpack[SettingsDict]) -> float:
    """Returns the Frechet Inception Distance of one set of images from another.

    Args:
      reference: Real images (a folder, zip, tar or `.npz`/`.npy` file; a uint8 array `n h w 3`; an
        `ImageSource`), a statistics file, or `Stats`.
      generated: Likewise.
      **settings: Fields of `Settings`: protocol, dims, weights, precision, batch_size and so on.

    Raises:
      InputError: An argument or a file is not what it should be; the message names it.
      WeightsUnavailableError: The weights are neither here nor to be fetched.

    Warns:
      UserWarning: What a reader of the number has to know: too few images, unrecognised weights.
    """
    if settings.get("extractor") is not None:
        raise InputError("extractor: a FID is of Inception's features; call compute_metrics")
    (scored,) = compute_metrics(reference, [generated], **settings).results
    for message in scored.warnings:
        warnings.warn(message, stacklevel=2)
    return scored.metrics["fid"].value


def compute_stats(images: Images, **settings: Unpack[SettingsDict]) -> Stats:
    """Returns mean, covariance, count and provenance of a set's features.

    Args:
      images: As in `compute_fid`.
      **settings: Fields of `Settings`; with metrics "fid,sfid" sFID's statistics come as well.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    return compute_sample(images, **settings).all_stats()


@one_evaluation
def compute_sample(images: Images, **settings: Unpack[SettingsDict]) -> Sample:
    """Returns all that the metrics asked for need of a set, and the files that were left out of it."""
    choices = Settings(**settings)
    opened = open_images(images, choices)
    needs, _ = needs_of(choices)
    sampler = Sampler(choices, features=needs.all(), largest=_largest([opened]))
    return sampler.complete(opened, needs)


@one_evaluation
def compute_metrics(
    reference: Images,
    generated: Sequence[Images],
    *,
    per_class: bool = False,
    on_result: Callable[[SetResult], Any] = lambda result: None,
    **settings: Unpack[SettingsDict],
) -> Result:
    """Returns the scores of several sets against one reference, whose statistics are prepared once.

    Args:
      reference: As in `compute_fid`.
      generated: The sets, each as in `compute_fid`.
      per_class: Score each class by itself as well: class folders, or the labels of a data set, which are to
        be the same on both sides. Frechet distances alone.
      on_result: Called with each set's scores as soon as they are known.
      **settings: Fields of `Settings`.

    Raises:
      InputError: An argument or a file is not what it should be. As much as can be is checked before the
        first image is decoded.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    choices = Settings(**settings)
    against, *sets = [open_images(images, choices) for images in (reference, *generated)]
    require_agreement(choices, [against, *sets])
    if per_class:
        result = score_per_class(against, sets, choices)
        for scored in result.results:
            on_result(scored)
        return result
    scorer = Scorer(against, choices, largest=_largest([against, *sets]))
    notes = [scorer.check(sample) for sample in sets]
    results = []
    for sample, known in zip(sets, notes, strict=True):
        results.append(scorer.score(scorer.pair(sample), known))
        on_result(results[-1])
    return scorer.result(results)


def _largest(opened: Sequence[Sample]) -> int:
    return max((len(s.source) for s in opened if s.source is not None), default=1)
