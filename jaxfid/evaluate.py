"""The facade: sets of images or statistics in, numbers with their provenance out."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from jaxfid.checks import check_pair, warn_of_few_images, warn_of_weights
from jaxfid.metrics.frechet import (
    frechet_distance_scipy,
    frechet_distance_to,
    prepare_reference,
)
from jaxfid.result import Metric, Result, SetResult
from jaxfid.samples import Images, Sample, Sampler, environment, open_images
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
    (scored,) = compute_metrics(reference, [generated], **settings).results
    for message in scored.warnings:
        warnings.warn(message, stacklevel=2)
    return scored.metrics["fid"].value


def compute_stats(images: Images, **settings: Unpack[SettingsDict]) -> Stats:
    """Returns mean, covariance, count and provenance of a set's features.

    Args:
      images: As in `compute_fid`.
      **settings: Fields of `Settings`.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    return compute_sample(images, **settings).stats


def compute_sample(images: Images, **settings: Unpack[SettingsDict]) -> Sample:
    """Returns the statistics of a set together with the files that were left out of it."""
    choices = Settings(**settings)
    opened = open_images(images, choices)
    return opened if isinstance(opened, Sample) else Sampler(choices).sample(opened)


def compute_metrics(
    reference: Images,
    generated: Sequence[Images],
    *,
    on_result: Callable[[SetResult], Any] = lambda result: None,
    **settings: Unpack[SettingsDict],
) -> Result:
    """Returns the scores of several sets against one reference, whose statistics are prepared once.

    Args:
      reference: As in `compute_fid`.
      generated: The sets, each as in `compute_fid`.
      on_result: Called with each set's scores as soon as they are known.
      **settings: Fields of `Settings`.

    Raises:
      InputError: An argument or a file is not what it should be. As much as can be is checked before the
        first image is decoded.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    choices = Settings(**settings)
    sampler = Sampler(choices)
    opened = [open_images(images, choices) for images in (reference, *generated)]
    origins = [sampler.origin(images) for images in opened]
    notes = [
        check_pair(origins[0], origin, allow_mismatch=choices.allow_mismatch)
        for origin in origins[1:]
    ]
    against = sampler.sample(opened[0])
    distance = _Distance(against.stats, verify=choices.verify)
    results = []
    for images, known in zip(opened[1:], notes, strict=True):
        results.append(_score(distance, against, sampler.sample(images), known))
        on_result(results[-1])
    provenance = next((o.provenance for o in origins if o.provenance is not None), {})
    return Result(
        reference=against.describe(),
        protocol={
            "name": provenance.get("protocol"),
            **{name: provenance.get(name) for name in ("dims", "precision")},
        },
        weights={
            name: provenance.get(f"weights_{name}") for name in ("name", "sha256", "official")
        },
        environment=environment(),
        results=results,
    )


class _Distance:
    """The Frechet distance from a reference that is prepared once."""

    def __init__(self, reference: Stats, *, verify: bool) -> None:
        self._reference, self._verify = reference, verify
        self._prepared = prepare_reference(reference.mean, reference.cov)

    def __call__(self, stats: Stats) -> Metric:
        value = frechet_distance_to(self._prepared, stats.mean, stats.cov)
        if not self._verify:
            return Metric(value)
        r = self._reference
        return Metric(value, checked=frechet_distance_scipy(r.mean, r.cov, stats.mean, stats.cov))


def _score(distance: _Distance, against: Sample, sample: Sample, notes: Sequence[str]) -> SetResult:
    sides = {side.name: side.stats for side in (against, sample)}
    few = [
        warning
        for name, stats in sides.items()
        for warning in warn_of_few_images(name, stats.count, len(stats.mean))
    ]
    return SetResult(
        generated=sample.name,
        num_images=sample.stats.count,
        metrics={"fid": distance(sample.stats)},
        skipped=sample.skipped,
        warnings=[*warn_of_weights(sample.stats.provenance), *notes, *few],
    )
