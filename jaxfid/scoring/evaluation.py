"""One evaluation: networks, metrics and the way images are seen, all resolved before the first image."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxfid.activity import doing
from jaxfid.errors import InputError
from jaxfid.extraction.devices import require_cpu
from jaxfid.extraction.extract import (
    ExtractOptions,
    Request,
    choose_batch_size,
    extract,
    require_images,
)
from jaxfid.extraction.image_set import ExtractedFeatures, ExtractedSet, ImageSet, Needs
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.result import SetResult
from jaxfid.scoring.agreement import require_agreement
from jaxfid.scoring.plan import make_plan
from jaxfid.scoring.remarks import Origin, check_pair, collect_warnings
from jaxfid.scoring.spaces import with_spaces
from jaxfid.scoring.values import compute_values
from jaxfid.settings import Settings


class Prepared:
    """The reference by every extractor, with what is computed of it once.

    Attributes:
      image_set: The reference with its features.
      by_extractor: The same, prepared.
    """

    def __init__(
        self, image_set: ExtractedSet, by_extractor: Mapping[str, PreparedReference]
    ) -> None:
        self.image_set, self.by_extractor = image_set, by_extractor


class Evaluation:
    """What is to be computed, of which features, and how.

    Attributes:
      settings: The choices.
      plan: What they resolve to: networks, metrics, and what these need.
      extractors: The networks by name. Weights are loaded when images are seen.
      needs: What the metrics of each network need of the reference, and of a generated set.
    """

    def __init__(
        self, settings: Settings, image_sets: Sequence[ImageSet] = (), *, largest: int = 1
    ) -> None:
        """Resolves the choices.

        Args:
          settings: The choices.
          image_sets: Every set that is known already; the largest bounds the batch size.
          largest: Images in the largest of the sets that are yet to come.

        Raises:
          InputError: A network or a metric is not what it should be.
        """
        self.settings = settings
        require_cpu()  # noticed now, not after the last image
        self._largest = largest
        self.expect(image_sets)
        self.plan = make_plan(settings)
        self.extractors, self.needs = self.plan.extractors, self.plan.needs
        self._times_seen: collections.Counter[str] = collections.Counter()

    def expect(self, image_sets: Sequence[ImageSet]) -> None:
        """Lets batches be as large as further sets are."""
        sizes = [len(one.source) for one in image_sets if one.source is not None]
        self._largest = max([self._largest, *sizes])

    def check(
        self, reference: ImageSet, generated: ImageSet | None = None, *, name: str = "the samples"
    ) -> list[str]:
        """Returns what has to be said about comparing a set with the reference; sees no image.

        Args:
          reference: The reference as it was opened.
          generated: The set likewise; None for images that are yet to come.
          name: What messages call those.

        Raises:
          InputError: They were made under different settings, or a file lacks what the metrics need.
        """
        self._check_files(reference, 0)
        if generated is None:
            generated = ImageSet(name)
        elif generated.source is None:
            self._check_files(generated, 1)
        notes: list[str] = []
        for network in self.extractors:
            sides = (self._origin(side, network) for side in (reference, generated))
            allowed = self.settings.metrics.allow_mismatch
            notes += check_pair(*sides, allow_mismatch=allowed)
        return list(dict.fromkeys(notes))

    def _check_files(self, image_set: ImageSet, side: int) -> None:
        """Checks that a set without images holds what the metrics need, before any image is seen."""
        if image_set.source is not None:
            return
        for name, known in self._known(image_set).items():
            made_by = (known.provenance or {}).get("extractor", name)
            # Else a distance of another network's features would be printed as this one's, an FID even.
            if made_by != name and not self.settings.metrics.allow_mismatch:
                raise InputError(
                    f"{image_set.name}: its features are of {made_by}, and those of {name} were asked for; "
                    "choose --extractor"
                )
            missing = known.missing(self.needs[name][side])
            wanted = sorted(missing.moments | missing.features)
            if wanted:
                raise InputError(
                    f"{image_set.name}: the metrics asked for need its images (features "
                    f"{', '.join(wanted)}), and a statistics file does not hold them"
                )

    def _known(self, image_set: ImageSet) -> dict[str, ExtractedFeatures]:
        names = {name: network.chosen for name, network in self.extractors.items()}
        return image_set.known(names)

    def _origin(self, image_set: ImageSet, name: str) -> Origin:
        known, network = self._known(image_set)[name], self.extractors[name]
        stats = known.stats.get(network.chosen)
        if stats is None:
            # Images: what their features will depend on is known once weights are loaded.
            provenance = self._load(name).provenance(network.chosen)
            return Origin(image_set.name, network.widths[network.chosen], provenance)
        return Origin(image_set.name, len(stats.mean), known.provenance)

    def _load(self, name: str) -> Any:  # noqa: ANN401
        # Of both sides at once, so that one compiled network serves the reference and all sets.
        wanted = [f for needs in self.needs[name] for f in sorted(needs.all())]
        with doing(f"loading the weights of {name}", shown=self.settings.runtime.progress):
            return self.extractors[name].load(list(dict.fromkeys(wanted)))

    def extract_reference(self, image_set: ImageSet) -> Prepared:
        """Returns the reference with all that the metrics need of it.

        Raises:
          InputError: As `extract`.
          WeightsUnavailableError: The weights are neither here nor to be fetched.
        """
        return self.prepare(self._extract(image_set, side=0))

    def prepare(self, image_set: ExtractedSet) -> Prepared:
        """Returns a reference whose features are known, ready to be scored against."""
        prepared = {
            name: PreparedReference(features, chosen=network.chosen, default=network.default)
            for name, features in image_set.by_extractor.items()
            for network in [self.extractors[name]]
        }
        return Prepared(image_set, prepared)

    def extract_generated(self, image_set: ImageSet, *, keep_finished: bool = True) -> ExtractedSet:
        """Returns a generated set with all that the metrics need of it.

        Args:
          image_set: As it was opened.
          keep_finished: As in `extract`.
        """
        return self._extract(image_set, side=1, keep_finished=keep_finished)

    def extract_with(self, image_set: ImageSet, needs: Mapping[str, Needs]) -> ExtractedSet:
        """Returns a set with what is asked for of each extractor.

        Args:
          image_set: As it was opened.
          needs: What to keep, by the names of extractors.
        """
        return self._see(image_set, needs, keep_finished=True)

    def _extract(
        self, image_set: ImageSet, *, side: int, keep_finished: bool = True
    ) -> ExtractedSet:
        needs = {name: both[side] for name, both in self.needs.items()}
        return self._see(image_set, needs, keep_finished=keep_finished)

    def _see(
        self, image_set: ImageSet, needs: Mapping[str, Needs], *, keep_finished: bool
    ) -> ExtractedSet:
        known = self._known(image_set)
        missing = {name: features.missing(needs[name]) for name, features in known.items()}
        # Rows are for error bars alone, and those of other images than the moments are of no use: a file that
        # brings the moments, ADM's with some of its images among them, gives values without error bars.
        missing = {
            name: dataclasses.replace(one, rows=one.rows - set(known[name].stats))
            for name, one in missing.items()
        }
        wanted = [name for name in missing if missing[name].all()]
        if not wanted:
            return ExtractedSet(image_set.name, known, source=image_set.source)
        require_images(image_set, missing.values())  # before weights are fetched
        # Sets that come later, as a comparison's do, were not among those that were agreed on before.
        require_agreement(self.settings, [image_set])
        requests = [Request(self._load(name), missing[name]) for name in wanted]
        seen = extract(
            image_set,
            requests,
            self.extract_options(),
            snapshot_name=self._snapshot_name(image_set),
            keep_finished=keep_finished,
        )
        joined = {
            # What the file knew stays: ADM's moments are of more images than the pictures beside them.
            name: features.joined(seen.by_extractor.get(name, ExtractedFeatures()))
            for name, features in known.items()
        }
        return dataclasses.replace(seen, by_extractor=joined)

    def extract_options(self) -> ExtractOptions:
        """Returns how images are seen."""
        f, r = self.settings.features, self.settings.runtime
        return ExtractOptions(
            choose_batch_size(r.batch_size, self._largest, r.devices),
            **{name: getattr(r, name) for name in ("devices", "num_workers", "sums", "resume")},
            on_error=f.on_error,
            limit=f.limit,
            seed=f.seed,
            resume_every_s=r.resume_every_s,
            resume_strict=r.resume_strict,
            progress=r.progress,
        )

    def _snapshot_name(self, image_set: ImageSet) -> str:
        """A name of the set's own: two sets of one name do not share their progress."""
        name = image_set.name
        self._times_seen[name] += 1
        times = self._times_seen[name]
        return name if times == 1 else f"{name} ({times})"

    def pairs(
        self, reference: Prepared, generated: ExtractedSet, *, realism: bool = False
    ) -> dict[str, SetPair]:
        """Returns the set against the reference, by extractor.

        Args:
          reference: From `extract_reference`.
          generated: From `extract_generated`.
          realism: Whether the realism of single images will be asked for: it costs a second pass in float64.
        """
        labels = None if generated.source is None else generated.source.labels
        return {
            name: SetPair(
                reference.by_extractor[name],
                features,
                asked=[*(s.name for s in self.plan.computed[name]), *["realism"] * realism],
                options=self.settings.metrics.options,
                verify=self.settings.metrics.verify,
                labels=None if labels is None else np.asarray(labels),
            )
            for name, features in generated.by_extractor.items()
        }

    def score(
        self,
        reference: Prepared,
        generated: ExtractedSet,
        notes: Sequence[str] = (),
        *,
        pairs: Mapping[str, SetPair] | None = None,
    ) -> SetResult:
        """Returns a set's metrics in the order asked for, and what a reader of them has to know.

        Args:
          reference: From `extract_reference`.
          generated: From `extract_generated`.
          notes: From `check`.
          pairs: From `pairs`, where the caller has them; what they have computed is not computed again.
        """
        pairs = pairs or self.pairs(reference, generated)
        metrics = with_spaces(self.plan, pairs, compute_values(self.plan, pairs))
        return SetResult(
            generated=generated.name,
            num_images=generated.count,
            metrics=metrics,
            skipped=generated.skipped,
            warnings=collect_warnings(self.plan, reference.image_set, generated, notes),
        )

    def warm_up(self, reference: Prepared) -> None:
        """Does now what the first comparison with a reference would do."""
        for name, prepared in reference.by_extractor.items():
            for spec in self.plan.computed[name]:
                spec.prepare(prepared)

    def describe(self) -> dict[str, Any]:
        """Returns what all scores depend on besides the sets: for the identity of a run."""
        f, m = self.settings.features, self.settings.metrics
        entries = {"metrics": sorted(self.plan.names()), "on_error": f.on_error, **m.options}
        provenances = {
            name: self._load(name).provenance(network.chosen)
            for name, network in self.extractors.items()
        }
        if len(provenances) == 1:
            (provenance,) = provenances.values()
            return entries | provenance
        return entries | {f"features of {name}": p for name, p in provenances.items()}
