"""Every metric by name: what it needs of the two sets, and how it comes from them."""

import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float64

from jaxfid.extraction.context import own_context
from jaxfid.metrics.frechet.distance import frechet_distance_to, prepare_reference
from jaxfid.metrics.frechet.factor import GaussianFactor
from jaxfid.metrics.frechet.infinity import frechet_distance_infinity
from jaxfid.metrics.frechet.jackknife import jackknife_stderr, leave_one_block_out
from jaxfid.metrics.frechet.scipy_check import frechet_distance_scipy
from jaxfid.metrics.inception_score import inception_score
from jaxfid.metrics.kernel import KernelDistance, kernel_distance
from jaxfid.metrics.manifold import ManifoldScores, manifold_scores
from jaxfid.metrics.neighbours import neighbour_distances
from jaxfid.result import Metric
from jaxfid.samples import SPATIAL, Needs, Sample
from jaxfid.settings import EXTRACTOR_METRIC, Settings
from jaxfid.stats.moments import Moments

POOL3, LOGITS = "2048", "logits_unbiased"
PRECISION_K, DENSITY_K = 3, 5


class Reference:
    """The reference with what is computed of it once for all generated sets."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.factor = functools.cache(self._factor)

    def _factor(self, feature: str) -> GaussianFactor:
        stats = self.sample.stats[feature]
        return prepare_reference(stats.mean, stats.cov)

    @functools.cached_property
    def neighbours(self) -> Float64[np.ndarray, "n k"]:
        """Distances of each image's nearest neighbours."""
        return neighbour_distances(self.sample.features[POOL3], k=max(PRECISION_K, DENSITY_K))


class Pair:
    """A generated set against the reference; what several metrics share is computed once."""

    def __init__(self, reference: Reference, generated: Sample, settings: Settings) -> None:
        self.reference, self.generated, self.settings = reference, generated, settings

    @property
    def main(self) -> str:
        """The features whose Frechet distance is asked for."""
        return str(self.settings.dims)

    @functools.cached_property
    def manifold(self) -> ManifoldScores:
        """How the two sets cover each other in pool3."""
        return manifold_scores(
            self.reference.sample.features[POOL3],
            self.generated.features[POOL3],
            precision_k=PRECISION_K,
            density_k=DENSITY_K,
            reference_neighbours=self.reference.neighbours,
        )

    @functools.cached_property
    def kernel(self) -> KernelDistance:
        """Their kernel distance in pool3."""
        return kernel_distance(
            self.reference.sample.features[POOL3],
            self.generated.features[POOL3],
            subset_size=self.settings.kid_subset_size,
        )

    def frechet(self, feature: str) -> Metric:
        """Returns the Frechet distance of one feature, with its error bar where there are blocks."""
        stats, factor = self.generated.stats[feature], self.reference.factor(feature)
        value = frechet_distance_to(factor, stats.mean, stats.cov)
        checked = self._scipy(feature) if self.settings.verify else None
        blocks = self.generated.blocks.get(feature)
        if blocks is None or not _can_leave_out(blocks):
            return Metric(value, checked=checked)
        rests = leave_one_block_out(factor, blocks)
        return Metric(value, stderr=jackknife_stderr(rests), rests=tuple(rests), checked=checked)

    def _scipy(self, feature: str) -> float:
        a, b = self.reference.sample.stats[feature], self.generated.stats[feature]
        return frechet_distance_scipy(a.mean, a.cov, b.mean, b.cov)


def _can_leave_out(blocks: Moments) -> bool:
    """Whether the rest is still of full rank; a singular covariance would be another statistic."""
    rests = blocks.count.sum() - blocks.count
    return len(rests) > 1 and rests.min() > blocks.total.shape[-1]


@dataclasses.dataclass(frozen=True)
class Score:
    """One metric.

    Attributes:
      compute: From a pair to the number.
      moments: Features whose mean and covariance it needs of both sets; `MAIN` are those of `dims`.
      features: Features that it needs image by image, of both sets.
      generated_features: The same of the generated set alone.
    """

    compute: Callable[[Pair], Metric]
    moments: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    generated_features: tuple[str, ...] = ()


MAIN = "main"


def _kid(pair: Pair) -> Metric:
    kid = pair.kernel
    details = {"subset_mean": kid.subset_mean, "num_subsets": kid.num_subsets}
    details |= {"subset_size": kid.subset_size, "stderr_both": kid.stderr_both}
    return Metric(kid.value, stderr=kid.stderr, std=kid.subset_std, details=details)


def _inception_score(pair: Pair) -> Metric:
    score = inception_score(pair.generated.features[LOGITS], convention=pair.settings.splits)
    details = {"splits": score.convention, "num_splits": score.num_splits}
    return Metric(score.value, std=score.std, details=details)


def _fid_infinity(pair: Pair) -> Metric:
    line = frechet_distance_infinity(
        pair.reference.factor(pair.main), pair.generated.features[pair.main]
    )
    details = {"slope": line.slope, "debiased": line.debiased}
    return Metric(line.value, stderr=line.stderr, details=details)


SCORES = {
    EXTRACTOR_METRIC: Score(lambda pair: pair.frechet(pair.main), moments=(MAIN,)),
    "fid": Score(lambda pair: pair.frechet(pair.main), moments=(MAIN,)),
    "sfid": Score(lambda pair: pair.frechet(SPATIAL), moments=(SPATIAL,)),
    "inception_score": Score(_inception_score, generated_features=(LOGITS,)),
    "kid": Score(_kid, features=(POOL3,)),
    "precision": Score(
        lambda pair: Metric(pair.manifold.precision, stderr=pair.manifold.precision_stderr),
        features=(POOL3,),
    ),
    "recall": Score(lambda pair: Metric(pair.manifold.recall), features=(POOL3,)),
    "density": Score(
        lambda pair: Metric(pair.manifold.density, stderr=pair.manifold.density_stderr),
        features=(POOL3,),
    ),
    "coverage": Score(lambda pair: Metric(pair.manifold.coverage), features=(POOL3,)),
    "fid_infinity": Score(_fid_infinity, moments=(MAIN,), generated_features=(MAIN,)),
}


@own_context()
def compute_scores(pair: Pair) -> dict[str, Metric]:
    """Returns the metrics asked for by the names that results call them, in their order."""
    network = pair.settings.extractor
    scores = {name: SCORES[name].compute(pair) for name in pair.settings.metrics}
    return (
        scores
        if network is None
        else {f"{EXTRACTOR_METRIC}_{network.name}": scores[EXTRACTOR_METRIC]}
    )


def needs_of(settings: Settings) -> tuple[Needs, Needs]:
    """Returns what the metrics asked for need of the reference, and of each generated set."""
    scores = [SCORES[name] for name in settings.metrics]

    def named(names: Iterable[tuple[str, ...]]) -> frozenset[str]:
        flat = (name for group in names for name in group)
        return frozenset(str(settings.dims) if name == MAIN else name for name in flat)

    moments = named(score.moments for score in scores)
    reference = Needs(moments, named(score.features for score in scores))
    generated = Needs(moments, named(s.features + s.generated_features for s in scores))
    return reference, generated
