"""The facade: sets of images or statistics in, numbers with their provenance out."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from jaxfid.checks import check_pair, warn_of_sizes, warn_of_weights
from jaxfid.comparison import compare_sets
from jaxfid.environment import describe_environment
from jaxfid.result import Result, SetResult
from jaxfid.sampler import Sampler
from jaxfid.samples import Images, Needs, Sample, open_images
from jaxfid.scores import Reference, compute_scores, needs_of
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
    return compute_sample(images, **settings).stats[str(Settings(**settings).dims)]


def compute_sample(images: Images, **settings: Unpack[SettingsDict]) -> Sample:
    """Returns all that the metrics asked for need of a set, and the files that were left out of it."""
    choices = Settings(**settings)
    opened = open_images(images, choices)
    needs, _ = needs_of(choices)
    return _make_sampler([opened], needs, choices).complete(opened, needs)


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
    opened = [open_images(images, choices) for images in (reference, *generated)]
    of_reference, of_generated = needs_of(choices)
    sampler = _make_sampler(opened, of_reference | of_generated, choices)
    origins = [sampler.origin(sample) for sample in opened]
    notes = [
        check_pair(origins[0], origin, allow_mismatch=choices.allow_mismatch)
        for origin in origins[1:]
    ]
    against = Reference(sampler.complete(opened[0], of_reference))
    results = []
    for sample, known in zip(opened[1:], notes, strict=True):
        completed = sampler.complete(sample, of_generated, blocks=choices.blocks)
        results.append(_score(against, completed, known, choices))
        on_result(results[-1])
    provenance = next((o.provenance for o in origins if o.provenance is not None), {})
    return Result(
        reference=against.sample.describe(),
        protocol={
            "name": provenance.get("protocol"),
            **{name: provenance.get(name) for name in ("dims", "precision")},
        },
        weights={
            name: provenance.get(f"weights_{name}") for name in ("name", "sha256", "official")
        },
        environment=describe_environment(),
        results=results,
        comparisons=compare_sets(results),
    )


def _make_sampler(opened: Sequence[Sample], needs: Needs, settings: Settings) -> Sampler:
    sizes = [len(sample.source) for sample in opened if sample.source is not None]
    return Sampler(settings, features=needs.all(), largest=max(sizes, default=1))


def _score(
    reference: Reference, generated: Sample, notes: Sequence[str], settings: Settings
) -> SetResult:
    provenance = next((s.provenance for s in generated.stats.values()), None)
    return SetResult(
        generated=generated.name,
        num_images=generated.count,
        metrics=compute_scores(reference, generated, settings),
        skipped=generated.skipped,
        warnings=[
            *warn_of_weights(provenance),
            *notes,
            *warn_of_sizes(
                (reference.sample.name, reference.sample.count),
                (generated.name, generated.count),
                width=settings.dims,
            ),
        ],
    )
