"""Standard errors of the metrics of vectors against the true spread over independent generated sets.

Per metric and kind of features: the mean standard error over the standard deviation of the values, and
how much the standard error itself varies. Recall and coverage have none in jaxfid; what leaving out one
image at a time would give is shown, which is why. 1 is right; the sets tell it to about 4 %.

    .venv/bin/python scripts/bench/standard_errors.py

About 10 minutes at the defaults on two cores.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from lib.measure import make_parser
from lib.report import Report, Row

from jaxfid.metrics.cmmd import cmmd
from jaxfid.metrics.inception_score import inception_score
from jaxfid.metrics.kernel import kernel_distance
from jaxfid.metrics.manifold import manifold_scores
from jaxfid.metrics.mind import make_directions, mind
from jaxfid.metrics.neighbours import neighbour_distances
from jaxfid.metrics.vendi import vendi_score

Features = Float[np.ndarray, "n d"]
Estimate = tuple[float, float]
"""A value and its standard error."""

K_RECALL, K_COVERAGE = 3, 5


@dataclasses.dataclass(frozen=True)
class Kind:
    """Features that a generated set is drawn from; a reference has scale 1 and shift 0.

    Attributes:
      name: What tables call them.
      num_images: Images of a set.
      width: Features of an image.
      shift: What is added to each feature, in spreads.
      scale: What each feature is multiplied with.
      decay: The feature k is multiplied with `k**-decay`: 0 gives a flat spectrum.
      heavy: Whether an image's features share a log-normal factor.
      base: What is added to the features of either side, in spreads: a common direction.
    """

    name: str
    num_images: int
    width: int
    shift: float = 0.0
    scale: float = 1.0
    decay: float = 0.0
    heavy: bool = False
    base: float = 0.0

    def draw(self, rng: np.random.Generator, *, reference: bool = False) -> Features:
        """Returns a set."""
        features = rng.normal(size=(self.num_images, self.width))
        if self.heavy:
            features *= np.exp(0.5 * rng.normal(size=(self.num_images, 1)))
        if not reference:
            features = self.scale * features + self.shift
        return (features + self.base) * np.arange(1, self.width + 1) ** -self.decay


KINDS = (
    Kind("equal", 400, 16),
    Kind("near", 400, 16, shift=0.1),
    Kind("far", 400, 16, shift=0.3, scale=0.9),
    Kind("decaying", 400, 64, shift=0.1, decay=0.8),
    Kind("heavy-tailed", 400, 16, shift=0.1, heavy=True),
    Kind("wide", 800, 64, shift=0.1, scale=0.95, base=1.0),
)


class Metrics:
    """The metrics against one reference."""

    def __init__(self, kind: Kind) -> None:
        self._reference = kind.draw(np.random.default_rng(1), reference=True)
        self._neighbours = neighbour_distances(self._reference, k=K_COVERAGE)
        self._directions = make_directions(128, kind.width)

    def all(self) -> dict[str, Callable[[Features], Estimate]]:
        """Returns every metric by name."""
        return {
            "kd": self.kd,
            "cmmd": self.cmmd,
            "mind": self.mind,
            "vendi": self.vendi,
            "inception_score": self.inception_score,
            "precision": self.precision,
            "density": self.density,
            "coverage, leave one out": self.coverage,
            "recall, leave one out": self.recall,
        }

    def kd(self, features: Features) -> Estimate:
        """Kernel distance."""
        found = kernel_distance(self._reference, features, num_subsets=1, subset_size=2)
        return found.value, found.stderr

    def cmmd(self, features: Features) -> Estimate:
        """CMMD."""
        found = cmmd(self._reference, features)
        return found.value, found.stderr

    def mind(self, features: Features) -> Estimate:
        """MIND."""
        found = mind(self._reference, features, directions=self._directions)
        return found.value, found.stderr

    def vendi(self, features: Features) -> Estimate:
        """Vendi score."""
        found = vendi_score(features)
        return found.value, found.stderr

    def inception_score(self, features: Features) -> Estimate:
        """Inception Score, the features taken for logits."""
        found = inception_score(features)
        return found.value, found.stderr or np.nan

    def precision(self, features: Features) -> Estimate:
        """Precision."""
        found = self._manifold(features, "precision")
        return found.precision or 0.0, found.precision_stderr or 0.0

    def density(self, features: Features) -> Estimate:
        """Density."""
        found = self._manifold(features, "density")
        return found.density or 0.0, found.density_stderr or 0.0

    def _manifold(self, features: Features, name: str):  # noqa: ANN202
        options = {"metrics": (name,), "reference_neighbours": self._neighbours}
        return manifold_scores(self._reference, features, **options)

    def coverage(self, features: Features) -> Estimate:
        """Coverage, and the jackknife's error: a ball with one image loses it."""
        inside = self._to(features) < self._neighbours[:, K_COVERAGE - 1, None]
        single = inside[inside.sum(axis=1) == 1]
        losses = np.bincount(single.argmax(axis=1), minlength=len(features)) / len(inside)
        return float(inside.any(axis=1).mean()), jackknife(losses)

    def recall(self, features: Features) -> Estimate:
        """Recall, and the jackknife's error: the image's ball goes, and those it bounded grow."""
        own = squared_distances(features, features)
        np.fill_diagonal(own, np.inf)
        order = np.argsort(own, axis=1)[:, : K_RECALL + 1]
        radii = np.take_along_axis(own, order, axis=1)
        pairs = self._to(features)
        inside = pairs <= radii[:, K_RECALL - 1]
        grown = pairs <= radii[:, K_RECALL]
        counts = inside.sum(axis=1)
        left_out = np.empty(len(features))
        for i in range(len(features)):
            bounded = (order[:, :K_RECALL] == i).any(axis=1)
            left_out[i] = np.mean((counts - inside[:, i] > 0) | grown[:, bounded].any(axis=1))
        return float((counts > 0).mean()), jackknife(left_out)

    def _to(self, features: Features) -> Float[np.ndarray, "m n"]:
        return squared_distances(self._reference, features)


def squared_distances(a: Features, b: Features) -> Float[np.ndarray, "n m"]:
    """Returns the plain squared distances."""
    return np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T


def jackknife(left_out: Float[np.ndarray, " n"]) -> float:
    """Returns the standard error from the values without each image in turn."""
    n = len(left_out)
    return float(np.sqrt((n - 1) * left_out.var()))


def measure(kind: Kind, num_sets: int) -> Iterator[Row]:
    """Gives each metric's ratio for one kind of features."""
    rng = np.random.default_rng(2)
    metrics = Metrics(kind).all()
    found: dict[str, list[Estimate]] = {name: [] for name in metrics}
    for _ in range(num_sets):
        features = kind.draw(rng)
        for name, metric in metrics.items():
            found[name].append(metric(features))
    for name, estimates in found.items():
        values, stderrs = np.array(estimates).T
        yield {
            "metric": name,
            "features": kind.name,
            "images": kind.num_images,
            "width": kind.width,
            "value": f"{values.mean():.4g}",
            "true spread": f"{values.std(ddof=1):.3g}",
            "standard error / true": f"{stderrs.mean() / values.std(ddof=1):.2f}",
            "its own spread": f"{stderrs.std() / stderrs.mean():.2f}",
        }


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--sets", type=int, default=300, help="sets of each kind (%(default)s)")
    options = parser.parse_args()
    report = Report(options)
    rows = [row for kind in KINDS for row in measure(kind, options.sets)]
    rows.sort(key=lambda row: str(row["metric"]))
    report.table("standard errors against the spread over sets", rows)
    report.save()


if __name__ == "__main__":
    main()
