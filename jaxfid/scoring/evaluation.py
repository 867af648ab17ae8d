"""One evaluation: networks, metrics and the way images are seen, all resolved before the first image."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxfid.context import own_context
from jaxfid.distributed.group import process_group
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
from jaxfid.extractors.registry import ChosenExtractor, LoadOptions
from jaxfid.metrics.pair import PreparedReference, SetPair
from jaxfid.metrics.registry import MetricSpec, choose_specs
from jaxfid.provenance import describe_environment
from jaxfid.result import MetricValue, Result, SetResult
from jaxfid.scoring.agreement import require_agreement
from jaxfid.scoring.remarks import (
    Origin,
    check_pair,
    warn_of_sizes,
    warn_of_source,
    warn_of_weights,
)
from jaxfid.settings import Settings, Weights

NEIGHBOUR_METRICS = frozenset({"precision", "recall", "density", "coverage"})


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
      extractors: The networks by name. Weights are loaded when images are seen.
      specs: The metrics of each network.
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
        self._largest = max([largest, *(len(s.source) for s in image_sets if s.source is not None)])
        chosen = [self._choose(extractor) for extractor in settings.features.extractors]
        self.extractors = {extractor.name: extractor for extractor in chosen}
        # Of several networks it speaks of Inception. 2048 is the default, which nobody has to take back.
        if settings.features.dims not in (2048, *(e.widths[e.chosen] for e in chosen)):
            found = ", ".join(self.extractors)
            raise InputError(f"dims: the extractor {found} brings its own; leave it out")
        if len(self.extractors) < len(chosen):
            raise InputError("extractor: expected each network once, found one twice")
        _check_weights(settings.features.weights, list(self.extractors))
        self.specs = choose_specs(settings.metrics.names, list(self.extractors))
        self.needs = {name: self._needs_of(name) for name in self.extractors}
        self._times_seen: collections.Counter[str] = collections.Counter()

    def _choose(self, extractor: Any) -> ChosenExtractor:  # noqa: ANN401
        f = self.settings.features
        name = extractor if isinstance(extractor, str) else extractor.name
        options = LoadOptions(f.weights_of(name), f.precision, f.protocol, f.crop)
        return ChosenExtractor(extractor, options, dims=f.dims)

    def _needs_of(self, name: str) -> tuple[Needs, Needs]:
        """Returns what an extractor's metrics need of the reference, and of a generated set."""
        network = self.extractors[name]
        reference, generated = Needs(), Needs()
        for spec in self.specs[name]:
            ours, theirs = spec.needs(network.chosen, network.default)
            reference, generated = reference | ours, generated | theirs
        return reference, generated

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

    def pairs(self, reference: Prepared, generated: ExtractedSet) -> dict[str, SetPair]:
        """Returns the set against the reference, by extractor."""
        labels = None if generated.source is None else generated.source.labels
        return {
            name: SetPair(
                reference.by_extractor[name],
                features,
                asked=[spec.name for spec in self.specs[name]],
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
        # One pair for all metrics of an extractor: what one has computed, the others find there.
        metrics = {
            spec.result_name(name): compute(spec, pair)
            for name, pair in pairs.items()
            for spec in self.specs[name]
        }
        return SetResult(
            generated=generated.name,
            num_images=generated.count,
            metrics=metrics,
            skipped=generated.skipped,
            warnings=[*self._warnings(reference.image_set, generated, notes)],
        )

    def _warnings(
        self, reference: ExtractedSet, generated: ExtractedSet, notes: Sequence[str]
    ) -> list[str]:
        both = (reference, generated)
        provenances = [f.provenance for side in both for f in side.by_extractor.values()]
        sizes: list[str] = []
        for name, network in self.extractors.items():
            asked = {spec.name for spec in self.specs[name]}
            sizes += warn_of_sizes(
                *((side.name, side.count) for side in both),
                width=network.widths[network.chosen],
                frechet=any(spec.moments for spec in self.specs[name]),
                neighbours=bool(asked & NEIGHBOUR_METRICS),
            )
        remarks = [r for side in both for r in warn_of_source(side.name, side.source)]
        remarks += [f"{side.name}: {remark}" for side in both for remark in side.remarks]
        # The gravest first, each once: with several extractors the same sizes are warned of again.
        return list(dict.fromkeys([*warn_of_weights(provenances), *notes, *remarks, *sizes]))

    def result(self, reference: ExtractedSet, results: Sequence[SetResult]) -> Result:
        """Returns the sets' scores with all that they depend on."""
        extractors = {n: self._describe(reference, n) for n in self.extractors}
        first = next(iter(extractors.values()))
        protocol = {"name": first.get("protocol")}
        protocol |= {name: first.get(name) for name in ("dims", "precision")}
        # A user's own network brings a rule whose name nobody else knows.
        if first.get("extractor", "inception") != "inception":
            protocol |= {name: first[name] for name in ("extractor", "input") if name in first}
        return Result(
            reference={
                "name": reference.name,
                "num_images": reference.count,
                "skipped": list(reference.skipped),
                "provenance": reference.provenance,
            },
            protocol=protocol,
            weights={n: first.get(f"weights_{n}") for n in ("name", "sha256", "official")},
            environment=describe_environment(num_processes=process_group().count),
            results=results,
            extractors=extractors,
        )

    def _describe(self, reference: ExtractedSet, name: str) -> Mapping[str, Any]:
        """Returns the provenance of an extractor's features, as far as it is known."""
        known = reference.by_extractor.get(name, ExtractedFeatures()).provenance
        if known is not None:
            return known
        network = self.extractors[name]
        # Statistics on both sides need no network, and none is loaded to describe it.
        return network.load().provenance(network.chosen) if network.is_loaded else {}

    def warm_up(self, reference: Prepared) -> None:
        """Does now what the first comparison with a reference would do."""
        for name, prepared in reference.by_extractor.items():
            for spec in self.specs[name]:
                spec.prepare(prepared)

    def describe(self) -> dict[str, Any]:
        """Returns what all scores depend on besides the sets: for the identity of a run."""
        f, m = self.settings.features, self.settings.metrics
        names = {n: [spec.result_name(n) for spec in specs] for n, specs in self.specs.items()}
        all_names = sorted(name for group in names.values() for name in group)
        entries = {"metrics": all_names, "on_error": f.on_error, **m.options}
        provenances = {
            name: self._load(name).provenance(network.chosen)
            for name, network in self.extractors.items()
        }
        if len(provenances) == 1:
            (provenance,) = provenances.values()
            return entries | provenance
        return entries | {f"features of {name}": p for name, p in provenances.items()}


def _check_weights(weights: Weights | Mapping[str, Weights], extractors: Sequence[str]) -> None:
    """Checks that weights by name are of networks of this run: others would be left unused without a word."""
    unknown = sorted(set(weights) - set(extractors)) if isinstance(weights, Mapping) else []
    if unknown:
        raise InputError(
            f"weights: expected NAME=PATH for names out of {', '.join(extractors)}, found "
            f"{', '.join(unknown)}; a file whose own name has a = is written ./NAME"
        )


def compute(spec: MetricSpec, pair: SetPair) -> MetricValue:
    """Returns a metric of a pair; one that these sets do not allow is a value of None with the reason."""
    try:
        # The caller may be a training under a mesh and types of its own.
        with own_context():
            found = spec.compute(pair)
    except InputError as error:  # too few images for one metric must not cost the others
        return MetricValue(None, reason=str(error))
    if found.stderr is None and found.reason is None:
        return dataclasses.replace(found, reason=spec.why_no_stderr)
    return found
