"""Sets scored class by class and together, each image seen once, one class's sums held at a time."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxfid.errors import InputError
from jaxfid.extraction.image_set import ExtractedFeatures, ExtractedSet, ImageSet, KeptFeatures
from jaxfid.result import Result, SetResult
from jaxfid.scoring.description import make_result
from jaxfid.scoring.evaluation import Evaluation
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats
from jaxfid.stats.kept_rows import kept_indices
from jaxfid.stats.moments import Moments, moments_of_stats

Positions = Mapping[str, Sequence[int]]


def score_per_class(reference: ImageSet, sets: Sequence[ImageSet], settings: Settings) -> Result:
    """Returns the sets' scores. Each also holds the scores of its classes and their means.

    Classes are scored one after another, so that one class's sums are held at a time. The sums of all
    classes add up to those of the whole set.

    Args:
      reference: As it was opened.
      sets: The generated sets, likewise.
      settings: Metrics, protocol and so on.

    Raises:
      InputError: A set has no classes or other ones than the reference, or a class one image alone; or a
        metric was asked for that needs more than sums.
    """
    positions = [find_classes(image_set) for image_set in (reference, *sets)]
    for image_set, found in zip(sets, positions[1:], strict=True):
        _check_same_classes(reference, positions[0], image_set, found)
    largest = max(len(rows) for found in positions for rows in found.values())
    evaluation = Evaluation(settings, largest=largest)
    _check_metrics(evaluation)
    notes = [evaluation.check(reference, image_set) for image_set in sets]
    # Put together from the classes, so that no image is seen twice.
    whole, totals = _Whole(reference), [_Whole(image_set) for image_set in sets]
    by_class: list[dict[str, SetResult]] = [{} for _ in sets]
    for name, rows in positions[0].items():
        seen = evaluation.extract_reference(_take(reference, rows))
        whole.add(seen.image_set, rows)
        for number, image_set in enumerate(sets):
            of_class = positions[number + 1][name]
            extracted = evaluation.extract_generated(_take(image_set, of_class))
            totals[number].add(extracted, of_class)
            scores = evaluation.score(seen, extracted)
            # Warnings of a thousand classes would say the same; `_warn_of_classes` says it once.
            by_class[number][name] = dataclasses.replace(scores, generated=name, warnings=())
    prepared = evaluation.prepare(whole.finish())
    results = []
    for total, known, classes in zip(totals, notes, by_class, strict=True):
        remarks = [*known, *_warn_of_classes(classes, evaluation)]
        scores = evaluation.score(prepared, total.finish(), remarks)
        results.append(_with_classes(scores, classes))
    return make_result(evaluation.plan, prepared.image_set, results)


def find_classes(image_set: ImageSet) -> Positions:
    """Returns the positions of each class's images, classes in alphabetical order.

    Raises:
      InputError: The set has no classes.
    """
    labels = None if image_set.source is None else image_set.source.labels
    if labels is None:
        raise InputError(
            f"{image_set.name}: expected a folder for each class, or a data set with labels, found none"
        )
    positions = collections.defaultdict(list)
    for position, label in enumerate(labels):
        positions[label].append(position)
    return {label: positions[label] for label in sorted(positions)}


def _take(image_set: ImageSet, rows: Sequence[int]) -> ImageSet:
    assert image_set.source is not None  # as `find_classes` has seen
    return ImageSet(image_set.name, image_set.source.take(rows))


class _Whole:
    """A set put together again from its classes."""

    def __init__(self, opened: ImageSet) -> None:
        assert opened.source is not None  # as `find_classes` has seen
        self._opened, self._source = opened, opened.source
        self._wanted = kept_indices(len(opened.source))
        self._moments: dict[tuple[str, str], Moments] = {}
        self._rows: dict[tuple[str, str], list[KeptFeatures]] = collections.defaultdict(list)
        self._provenance: dict[tuple[str, str], Stats] = {}
        self._skipped: list[Mapping[str, str]] = []
        self._remarks: dict[str, None] = {}

    def add(self, of_class: ExtractedSet, positions: Sequence[int]) -> None:
        """Takes a class whose images lie at these positions of the set."""
        self._skipped += of_class.skipped
        self._remarks |= dict.fromkeys(of_class.remarks)
        for name, features in of_class.by_extractor.items():
            for feature, stats in features.stats.items():
                key, moments = (name, feature), moments_of_stats(stats.mean, stats.cov, stats.count)
                before = self._moments.get(key)
                self._moments[key] = moments if before is None else before + moments
                self._provenance[key] = stats
            for feature, kept in features.rows.items():
                # Of each class as many as of the whole set would have been kept, in its order.
                places = np.asarray(positions)[kept.indices]
                chosen = np.isin(places, self._wanted)
                self._rows[name, feature].append(KeptFeatures(kept.rows[chosen], places[chosen]))

    def finish(self) -> ExtractedSet:
        """Returns the set of all classes."""
        by_extractor: dict[str, ExtractedFeatures] = {}
        for (name, feature), moments in self._moments.items():
            provenance = self._provenance[name, feature].provenance
            stats = Stats(moments.mean(), moments.cov(), int(moments.count), provenance)
            rows = self._rows.get((name, feature))
            part = ExtractedFeatures(
                provenance, {feature: stats}, {} if rows is None else {feature: _join(rows)}
            )
            by_extractor[name] = by_extractor.get(name, ExtractedFeatures()).joined(part)
        remarks = list(self._remarks)
        return ExtractedSet(self._opened.name, by_extractor, self._skipped, self._source, remarks)


def _join(parts: Sequence[KeptFeatures]) -> KeptFeatures:
    indices = np.concatenate([part.indices for part in parts])
    order = np.argsort(indices)
    return KeptFeatures(np.concatenate([part.rows for part in parts])[order], indices[order])


def _with_classes(scores: SetResult, classes: Mapping[str, SetResult]) -> SetResult:
    means = {}
    for metric in scores.metrics:
        values = [of.metrics[metric].value for of in classes.values()]
        known = [value for value in values if value is not None]
        if len(known) == len(values):  # a mean without the hardest classes would flatter
            means[metric] = sum(known) / len(known)
    return dataclasses.replace(scores, classes=classes, class_means=means)


def _warn_of_classes(classes: Mapping[str, SetResult], evaluation: Evaluation) -> list[str]:
    counts = [of.num_images or 0 for of in classes.values()]
    widths = [network.widths[network.chosen] for network in evaluation.extractors.values()]
    if min(counts) > max(widths):
        return []
    return [
        f"classes have {min(counts)} to {max(counts)} images for {max(widths)} features: their values are "
        "far above those of larger classes; compare them only with values of as many images"
    ]


def _check_metrics(evaluation: Evaluation) -> None:
    wrong = [
        spec.result_name(name)
        for name, specs in evaluation.plan.specs.items()
        for spec in specs
        if spec.features or spec.generated_features
    ]
    if wrong:
        raise InputError(
            f"metrics: per class Frechet distances are computed, found {', '.join(wrong)}; leave it out"
        )


def _check_same_classes(
    reference: ImageSet, known: Positions, image_set: ImageSet, found: Positions
) -> None:
    faults = []
    if missing := sorted(set(known) - set(found)):
        faults.append(f"without {', '.join(missing)}")
    if unknown := sorted(set(found) - set(known)):
        faults.append(f"with {', '.join(unknown)}")
    if faults:
        raise InputError(
            f"{image_set.name}: expected the classes of {reference.name}, found them "
            f"{' and '.join(faults)}"
        )
