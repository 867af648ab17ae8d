"""A reference made ready: sets of images are scored against it whenever they come."""

import functools
from collections.abc import Sequence

from jaxfid.checks import Origin, check_pair, warn_of_sizes, warn_of_weights
from jaxfid.comparison import compare_sets
from jaxfid.environment import describe_environment
from jaxfid.result import Result, SetResult
from jaxfid.sampler import Sampler
from jaxfid.samples import Sample
from jaxfid.scores import Pair, Reference, compute_scores, needs_of
from jaxfid.settings import Settings
from jaxfid.stats.files import EXTRACTOR_FACTS


class Scorer:
    """Scores sets against one reference, whose images are seen once, when the first set is scored.

    Args:
      reference: The reference as it was opened.
      settings: Metrics, protocol, weights and so on.
      largest: Images in the largest set, which bounds the batch size.

    Attributes:
      sampler: Sees the images of all sets.
    """

    def __init__(self, reference: Sample, settings: Settings, *, largest: int) -> None:
        self._settings = settings
        self._of_reference, self._of_generated = needs_of(settings)
        needed = (self._of_reference | self._of_generated).all()
        self.sampler = Sampler(settings, features=needed, largest=largest)
        self._opened = reference
        self._origins = [self.sampler.origin(reference)]

    @functools.cached_property
    def reference(self) -> Reference:
        """The reference with all that the metrics need of it."""
        return Reference(self.sampler.complete(self._opened, self._of_reference))

    def check(self, generated: Sample) -> list[str]:
        """Returns what has to be said of comparing this set with the reference; sees no image.

        Raises:
          InputError: They were made under different settings.
        """
        origin = self.sampler.origin(generated)
        self._origins.append(origin)
        return check_pair(self._origins[0], origin, allow_mismatch=self._settings.allow_mismatch)

    def pair(self, generated: Sample, *, stays: bool = True) -> Pair:
        """Returns the set against the reference, its images seen.

        Args:
          generated: The set as it was opened.
          stays: As in `Sampler.complete`.
        """
        blocks = self._settings.blocks
        seen = self.sampler.complete(generated, self._of_generated, blocks=blocks, stays=stays)
        return Pair(self.reference, seen, self._settings)

    def score(self, pair: Pair, notes: Sequence[str] = ()) -> SetResult:
        """Returns a set's metrics in the order asked for, and what a reader of them has to know.

        Args:
          pair: From `pair`.
          notes: From `check`.
        """
        reference, generated = pair.reference.sample, pair.generated
        provenance = next((s.provenance for s in generated.stats.values()), None)
        sizes = (reference.name, reference.count), (generated.name, generated.count)
        return SetResult(
            generated=generated.name,
            num_images=generated.count,
            metrics=compute_scores(pair),
            skipped=generated.skipped,
            warnings=[
                *warn_of_weights(provenance),
                *notes,
                *warn_of_sizes(*sizes, width=self._settings.dims),
            ],
        )

    def result(self, results: Sequence[SetResult]) -> Result:
        """Returns the sets' scores with all that they depend on, and how the sets compare."""
        provenance = _first_provenance(self._origins)
        protocol = {name: provenance.get(name) for name in ("dims", "precision")}
        protocol |= {name: provenance[name] for name in EXTRACTOR_FACTS if name in provenance}
        weights = {n: provenance.get(f"weights_{n}") for n in ("name", "sha256", "official")}
        return Result(
            reference=self.reference.sample.describe(),
            protocol={"name": provenance.get("protocol"), **protocol},
            weights=weights,
            environment=describe_environment(),
            results=results,
            comparisons=compare_sets(results),
        )


def _first_provenance(origins: Sequence[Origin]) -> dict:
    return dict(next((o.provenance for o in origins if o.provenance is not None), {}))
