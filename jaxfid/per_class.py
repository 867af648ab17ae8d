"""Sets scored class by class and together, each image seen once, one class's sums held at a time."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from jaxfid.errors import InputError
from jaxfid.report.text_table import align_columns
from jaxfid.result import Result, SetResult
from jaxfid.samples import Needs, Sample
from jaxfid.scorer import Scorer
from jaxfid.scores import SCORES, Pair, Reference, needs_of
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats
from jaxfid.stats.moments import Moments

Positions = Mapping[str, Sequence[int]]


def score_per_class(reference: Sample, sets: Sequence[Sample], settings: Settings) -> Result:
    """Returns the sets' scores, in each of them those of its classes and their means.

    The classes go one after another, the reference's and every set's; the sums of all classes together
    are those of the whole, because sums add.

    Args:
      reference: As it was opened.
      sets: The generated sets, likewise.
      settings: Metrics, protocol and so on.

    Raises:
      InputError: A set has no classes or other ones than the reference, or a class one image alone; or a
        metric was asked for that needs more than sums.
    """
    _check_metrics(settings)
    positions = [find_classes(sample) for sample in (reference, *sets)]
    for sample, found in zip(sets, positions[1:], strict=True):
        _check_same_classes(reference, positions[0], sample, found)
    largest = max(len(rows) for found in positions for rows in found.values())
    scorer = Scorer(reference, settings, largest=largest)
    notes = [scorer.check(sample) for sample in sets]
    of_reference, of_generated = needs_of(settings)
    whole, totals = _Total(), [_Total() for _ in sets]
    by_class: list[dict[str, SetResult]] = [{} for _ in sets]
    for name in positions[0]:
        against = whole.add(_see(scorer, reference, positions[0][name], of_reference, 1))
        prepared = Reference(against)
        for number, sample in enumerate(sets):
            rows = positions[number + 1][name]
            seen = totals[number].add(_see(scorer, sample, rows, of_generated, settings.blocks))
            scores = scorer.score(Pair(prepared, seen, settings))
            by_class[number][name] = dataclasses.replace(scores, generated=name, warnings=())
    together = Scorer(whole.sample(reference), settings, largest=1)
    results = [
        _join(together, total.sample(sample), known, classes, settings)
        for sample, total, known, classes in zip(sets, totals, notes, by_class, strict=True)
    ]
    return together.result(results)


def find_classes(sample: Sample) -> Positions:
    """Returns the positions of each class's images, classes in alphabetical order.

    Raises:
      InputError: The set has no classes.
    """
    labels = None if sample.source is None else sample.source.labels
    if labels is None:
        raise InputError(
            f"{sample.name}: expected a folder for each class, or a data set with labels, found none"
        )
    positions = collections.defaultdict(list)
    for position, label in enumerate(labels):
        positions[label].append(position)
    return {label: positions[label] for label in sorted(positions)}


def format_classes(result: SetResult) -> str:
    """Returns a table of a set's classes, with their means below."""
    classes, means = result.classes or {}, result.class_means or {}
    head = ["class", "images", *means]
    rows = [
        [name, str(of.num_images), *(str(of.metrics[metric]) for metric in means)]
        for name, of in classes.items()
    ]
    last = [f"mean of {len(classes)}", "", *(f"{mean:.6g}" for mean in means.values())]
    return align_columns([head, *rows, last])


class _Total:
    """The sums of the classes seen so far."""

    def __init__(self) -> None:
        self._blocks: dict[str, Moments] = {}
        self._seen: list[Sample] = []

    def add(self, seen: Sample) -> Sample:
        """Takes a class, which comes back."""
        for feature, blocks in seen.blocks.items():
            before = self._blocks.get(feature)
            self._blocks[feature] = blocks if before is None else before + blocks
        self._seen.append(Sample(seen.name, skipped=seen.skipped))
        self._provenance = {feature: stats.provenance for feature, stats in seen.stats.items()}
        return seen

    def sample(self, opened: Sample) -> Sample:
        """Returns the set of all classes."""
        stats = {}
        for feature, blocks in self._blocks.items():
            total = blocks.total_over(0)
            known = self._provenance[feature]
            stats[feature] = Stats(total.mean(), total.cov(), int(total.count), known)
        skipped = [file for seen in self._seen for file in seen.skipped]
        return dataclasses.replace(opened, stats=stats, blocks=self._blocks, skipped=skipped)


def _see(scorer: Scorer, sample: Sample, rows: Sequence[int], needs: Needs, blocks: int) -> Sample:
    assert sample.source is not None
    of_class = Sample(sample.name, source=sample.source.take(rows))
    return scorer.sampler.complete(of_class, needs, blocks=blocks)


def _join(
    together: Scorer,
    sample: Sample,
    notes: Sequence[str],
    classes: Mapping[str, SetResult],
    settings: Settings,
) -> SetResult:
    together.check(sample)
    result = together.score(together.pair(sample), [*notes, *_warn_of_classes(classes, settings)])
    means = {
        metric: sum(of.metrics[metric].value for of in classes.values()) / len(classes)
        for metric in result.metrics
    }
    return dataclasses.replace(result, classes=classes, class_means=means)


def _warn_of_classes(classes: Mapping[str, SetResult], settings: Settings) -> list[str]:
    counts = [of.num_images or 0 for of in classes.values()]
    if min(counts) > settings.dims:
        return []
    return [
        f"classes have {min(counts)} to {max(counts)} images for {settings.dims} features: their values are "
        "far above those of larger classes; compare them only with values of as many images"
    ]


def _check_metrics(settings: Settings) -> None:
    wrong = [
        name
        for name in settings.metrics
        if SCORES[name].features or SCORES[name].generated_features
    ]
    if wrong:
        raise InputError(
            f"metrics: per class Frechet distances are computed, found {', '.join(wrong)}; leave it out"
        )


def _check_same_classes(
    reference: Sample, known: Positions, sample: Sample, found: Positions
) -> None:
    faults = []
    if missing := sorted(set(known) - set(found)):
        faults.append(f"without {', '.join(missing)}")
    if unknown := sorted(set(found) - set(known)):
        faults.append(f"with {', '.join(unknown)}")
    if faults:
        raise InputError(
            f"{sample.name}: expected the classes of {reference.name}, found them {' and '.join(faults)}"
        )
