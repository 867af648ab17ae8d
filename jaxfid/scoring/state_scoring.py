"""What an evaluator computes of its states: metrics of one feature, against one reference."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxfid.errors import InputError
from jaxfid.extraction.evaluator_state import EvaluatorState
from jaxfid.extraction.image_set import (
    ExtractedFeatures,
    ExtractedSet,
    Images,
    ImageSet,
    KeptFeatures,
    open_image_set,
)
from jaxfid.extractors.registry import ChosenExtractor
from jaxfid.metrics.registry import MetricSpec
from jaxfid.result import SetResult
from jaxfid.scoring.agreement import require_agreement
from jaxfid.scoring.evaluation import Evaluation, Prepared
from jaxfid.scoring.plan import Plan
from jaxfid.scoring.progress import holding_progress
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats

_serials = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A reference made ready, and what has to be said about comparing with it."""

    reference: Prepared
    notes: Sequence[str]


@dataclasses.dataclass(frozen=True, eq=False)
class StateScoring:
    """Metrics of states. All are equal to JAX: nothing that it compiles depends on one.

    Attributes:
      evaluation: Metrics and settings.
      feature: The feature that all metrics are of.
      provenance: What it depends on.
      comparison: The reference, if there is one.
      serial: A number of its own.
    """

    evaluation: Evaluation
    feature: str
    provenance: Mapping[str, Any]
    comparison: Comparison | None
    serial: int = dataclasses.field(default_factory=lambda: next(_serials))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateScoring)

    def __hash__(self) -> int:
        return hash(StateScoring)

    def against(self, reference: Images) -> "StateScoring":
        """Returns the same metrics against another reference."""
        opened = open_reference(reference, self.evaluation.settings)
        if opened is None:
            raise InputError("reference: expected one, found None")
        self.evaluation.expect([opened])
        comparison = compare_with(opened, self.evaluation)
        return StateScoring(self.evaluation, self.feature, self.provenance, comparison)

    def check(self, total: EvaluatorState) -> None:
        """Checks that a state can be one of this evaluator.

        Raises:
          InputError: Its features have another width.
        """
        (network,) = self.evaluation.extractors.values()
        found, width = total.rows.rows.shape[-1], network.widths[self.feature]
        if found != width:
            raise InputError(
                f"state: expected sums of {width} features, found {found}: it is another evaluator's"
            )

    def stats(self, total: EvaluatorState) -> Stats:
        """Returns mean, covariance and count of a state without leading axes.

        Raises:
          InputError: There are fewer than two images, features that are not finite, or some that whole
            numbers cannot hold.
        """
        self.check(total)
        moments = total.read_moments()
        # Looked at here and not at each update, which must not wait for the devices.
        if not np.isfinite(moments.total).all():
            raise InputError(
                "state: features are NaN or infinite; an image of the samples was, or the network overflowed"
            )
        cov = moments.cov()
        return Stats(moments.mean(), cov, int(moments.count), self.provenance)

    def score(self, total: EvaluatorState, name: str) -> SetResult:
        """Returns the metrics of a state without leading axes, and what a reader of them has to know.

        Raises:
          InputError: Its rows are needed and were added up as numbers; or as in `stats`.
        """
        assert self.comparison is not None  # checked before the processes meet
        stats = self.stats(total)
        rows, features = {}, {}
        if total.parts == 1:  # else they were added as numbers, and mean nothing
            kept = KeptFeatures(*total.rows.kept())
            rows, features = {self.feature: kept}, {self.feature: kept.rows}
        elif self._of_rows():
            raise InputError(
                "state: it was added up as numbers, as psum does, and its kept features mean nothing now; "
                "merge states by evaluator.all_gather or +"
            )
        (network,) = self.evaluation.extractors
        known = ExtractedFeatures(self.provenance, {self.feature: stats}, rows, features)
        generated = ExtractedSet(name, {network: known})
        scored = self.evaluation.score(self.comparison.reference, generated, self.comparison.notes)
        num_rows = len(rows[self.feature].rows) if rows else 0
        return self._with_num_rows(scored, num_rows)

    def _of_rows(self) -> list[str]:
        """Returns what results call the metrics that are of single images, not of sums."""
        ((name, specs),) = self.evaluation.plan.specs.items()
        (network,) = self.evaluation.extractors.values()
        return [
            spec.result_name(name)
            for spec in specs
            if spec.needs(network.chosen, network.default)[1].features
        ]

    def _with_num_rows(self, scored: SetResult, num_rows: int) -> SetResult:
        """Returns the result with the number of images behind each metric that is not of all."""
        of_rows = self._of_rows()
        if not of_rows or num_rows == scored.num_images:
            return scored
        metrics = {
            name: dataclasses.replace(v, details={**(v.details or {}), "num_rows": num_rows})
            if name in of_rows
            else v
            for name, v in scored.metrics.items()
        }
        warning = (
            f"{scored.generated}: {', '.join(of_rows)} from {num_rows} of the {scored.num_images} images, "
            "those whose features the evaluator keeps (num_rows)"
        )
        warnings = [*scored.warnings, warning]
        return dataclasses.replace(scored, metrics=metrics, warnings=warnings)


def open_reference(reference: Images | None, settings: Settings) -> ImageSet | None:
    """Returns the reference before its images are seen, once all processes agree on it and the settings."""
    opened = None
    if reference is not None:
        opened = open_image_set(reference, **settings.features.opening(reference=True))
    # Before the devices start, which is a meeting of all processes that nobody can leave.
    require_agreement(settings, [] if opened is None else [opened])
    return opened


def compare_with(opened: ImageSet | None, evaluation: Evaluation) -> Comparison | None:
    """Returns the reference with all that is computed of it once; None without one."""
    if opened is None:
        return None
    notes = evaluation.check(opened, name="the evaluator")
    with holding_progress(evaluation.settings):
        prepared = evaluation.extract_reference(opened)
    evaluation.warm_up(prepared)  # now, not in the middle of a training
    return Comparison(prepared, notes)


def choose_feature(plan: Plan) -> tuple[ChosenExtractor, str]:
    """Returns the network, and the one of its features that all metrics are of.

    Raises:
      InputError: There are several networks, or metrics of several features.
    """
    if len(plan.extractors) > 1:
        raise InputError("extractor: an evaluator takes one network, found several")
    ((name, network),) = plan.extractors.items()
    of_metrics = {spec.result_name(name): _features_of(spec, network) for spec in plan.specs[name]}
    features = sorted({feature for found in of_metrics.values() for feature in found})
    if len(features) > 1:
        found = ", ".join(f"{metric} of {' and '.join(f)}" for metric, f in of_metrics.items())
        raise InputError(
            f"metrics: an evaluator keeps one kind of features, found {found}; make one for each"
        )
    return network, features[0]


def _features_of(spec: MetricSpec, network: ChosenExtractor) -> list[str]:
    reference, generated = spec.needs(network.chosen, network.default)
    return sorted((reference | generated).all())
