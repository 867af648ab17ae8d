"""Whether the error bars of a Frechet distance are what they say: simulated, with the shipped code.

Each row draws many sets from one population and compares the standard error that each set gives with the
spread of the distances over all sets, which is the truth. The ratio of the two should be 1; the number
behind +- is how far the ratio of a single set is from the mean. The true spread is itself known to
`1 / sqrt(2 * sets)`. Of sets larger than 5,000 rows those are kept that the product keeps.

    .venv/bin/python scripts/bench/calibration.py

Prints Markdown tables. About 10 minutes at the defaults on two cores.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from lib.least_spread import Gaussian, least_own_spread

from jaxfid.metrics.frechet.distance import prepare_reference
from jaxfid.metrics.frechet.factor import GaussianFactor
from jaxfid.metrics.frechet.infinity import frechet_distance_infinity
from jaxfid.metrics.frechet.influence import (
    Difference,
    influence_stderr,
    paired_difference,
    within_classes,
)
from jaxfid.metrics.frechet.solve import FrechetSolution, solve_frechet
from jaxfid.stats.kept_rows import kept_indices

RATIOS = (2.5, 5, 10, 25, 100)
"""Images per feature."""
MANY = 20_000
"""Rows of a set whose own error is not looked at."""
CLASSES = 10

Rng = np.random.Generator
Rows = Float64[np.ndarray, "n d"]
Labels = Int64[np.ndarray, " n"]
Row = dict[str, str | float | int]


@dataclasses.dataclass(frozen=True)
class Population:
    """Features of a spectrum that decays as a network's does, of one kind of noise.

    Attributes:
      noise: From a generator and a shape to noise of variance near 1.
      mixing: Noise times this is a feature vector.
      centres: What is added for each class.
    """

    noise: Callable[[Rng, tuple[int, int]], Rows]
    mixing: Float64[np.ndarray, "d d"]
    centres: Float64[np.ndarray, "classes d"]

    def draw(self, rng: Rng, labels: Labels) -> Rows:
        """Returns one vector for each label."""
        return self.place(self.noise(rng, (len(labels), len(self.mixing))), labels)

    def place(self, noise: Rows, labels: Labels) -> Rows:
        """Returns the vectors that are made of this noise."""
        return noise @ self.mixing + self.centres[labels]

    def gaussian(self) -> Gaussian:
        """Returns mean and covariance of features whose noise is Gaussian and that have no classes."""
        return self.centres.mean(axis=0), self.mixing.T @ self.mixing

    def another(self, rng: Rng, *, by: float) -> "Population":
        """Returns a population nearby: a model of this one, off in every direction."""
        change = np.eye(len(self.mixing)) + by * rng.normal(size=self.mixing.shape) / 8
        shift = by * rng.normal(size=self.centres.shape[1]) @ self.mixing / 2
        return dataclasses.replace(
            self, mixing=self.mixing @ change, centres=self.centres @ change + shift
        )


def _gaussian(rng: Rng, shape: tuple[int, int]) -> Rows:
    return rng.normal(size=shape)


def _heavy(rng: Rng, shape: tuple[int, int]) -> Rows:
    """Returns Laplace noise, whose kurtosis of 6 is near that of many ReLU features."""
    return rng.laplace(size=shape) / np.sqrt(2)


NOISE = {"Gaussian": _gaussian, "heavy-tailed": _heavy, "mixture": _gaussian}


def make_population(kind: str, width: int) -> Population:
    """Returns the population of reference images of one kind."""
    rng = np.random.default_rng(width)
    scales = (1 + np.arange(width)) ** -0.5
    mixing = rng.normal(size=(width, width)) * scales[:, None]
    spread = 1.5 if kind == "mixture" else 0.0
    centres = spread * rng.normal(size=(CLASSES, width)) @ mixing
    return Population(NOISE[kind], mixing, centres)


def fit(rows: Rows) -> GaussianFactor:
    """Returns the rows' Gaussian as a reference."""
    return prepare_reference(rows.mean(axis=0), np.cov(rows.T))


def solve(reference: GaussianFactor, rows: Rows) -> FrechetSolution:
    """Returns the rows' distance from the reference."""
    return solve_frechet(reference, rows.mean(axis=0), np.cov(rows.T))


def summarise(values: list[float], stderrs: list[float]) -> Row:
    """Returns how the standard errors compare with the spread of the values."""
    return {"true spread": f"{np.std(values, ddof=1):.3g}", "ratio": ratio_of(stderrs, values)}


def ratio_of(stderrs: list[float], values: list[float]) -> str:
    """Returns the mean of the standard errors over the spread of the values, and its own spread."""
    ratios = np.array(stderrs) / np.std(values, ddof=1)
    return f"{ratios.mean():.2f} +- {ratios.std():.2f}"


class Study:
    """One population of references and one of generated images near it."""

    def __init__(self, kind: str, options: argparse.Namespace, *, by: float) -> None:
        self.kind, self.width, self.sets, self.by = kind, options.width, options.sets, by
        self.rng = np.random.default_rng([options.seed, *kind.encode(), int(100 * by)])
        self.truth = make_population(kind, self.width)
        self.model = self.truth.another(self.rng, by=by)
        self.reference = fit(self._draw(self.truth, MANY))
        gap = solve(self.reference, self._draw(self.model, MANY)).value / self.reference.trace
        self.names: Row = {"features": kind, "distance / trace": f"{gap:.1%}"}

    def _draw(self, population: Population, count: int) -> Rows:
        return population.draw(self.rng, self.rng.integers(0, CLASSES, count))

    def generated(self, ratio: float) -> Row:
        """Returns the row of plain error bars."""
        values, stderrs, plain = [], [], []
        count = int(ratio * self.width)
        for _ in range(self.sets):
            rows = self._draw(self.model, count)
            solution = solve(self.reference, rows)
            kept = rows[kept_indices(count)]
            influence, curvature = solution.influence(kept), solution.curvature(kept)
            values.append(solution.value)
            stderrs.append(influence_stderr(influence, count, curvature=curvature))
            plain.append(influence_stderr(influence, count))
        further = {"ratio without curvature": ratio_of(plain, values), **self._least(count)}
        return {**self.names, "N/d": ratio, **summarise(values, stderrs), **further}

    def _least(self, count: int) -> Row:
        """Returns the least own spread of an error bar, where it is known."""
        # Of the reference's own distribution the error bar has no derivative, and no such bound.
        if self.kind != "Gaussian" or not self.by:
            return {"least own spread": "-"}
        least = least_own_spread(self.model.gaussian(), self.truth.gaussian(), count)
        return {"least own spread": f"{least:.2f}"}

    def of_reference(self, ratio: float) -> Row:
        """Returns the row of the reference's own error, with the generated set held fixed."""
        generated = self._draw(self.model, MANY)
        values, stderrs = [], []
        count = int(ratio * self.width)
        for _ in range(self.sets):
            rows = self._draw(self.truth, count)
            solution = solve(fit(rows), generated)
            kept = rows[kept_indices(count)]
            influence = solution.reference_influence(kept)
            curvature = solution.reference_curvature(kept)
            values.append(solution.value)
            stderrs.append(influence_stderr(influence, count, curvature=curvature))
        return {**self.names, "N/d": ratio, **summarise(values, stderrs)}

    def balanced(self, ratio: float) -> Row:
        """Returns the row of class-balanced sets, with and without their labels."""
        values, with_labels, without = [], [], []
        count = int(ratio * self.width)
        labels, kept = np.arange(count) % CLASSES, kept_indices(count)
        for _ in range(self.sets):
            rows = self.model.draw(self.rng, labels)
            solution = solve(self.reference, rows)
            influence = solution.influence(rows[kept])
            values.append(solution.value)
            with_labels.append(influence_stderr(within_classes(influence, labels[kept]), count))
            without.append(influence_stderr(influence, count))
        plain = {"ratio without labels": ratio_of(without, values)}
        return {**self.names, "N/d": ratio, **summarise(values, with_labels), **plain}

    def infinity(self, ratio: float, least_share: float) -> Row:
        """Returns the row of the distance extrapolated from this share of the images to all."""
        values, stderrs = [], []
        count = int(ratio * self.width)
        for _ in range(self.sets // 2):
            rows = self._draw(self.model, count)
            least = int(least_share * count)
            found = frechet_distance_infinity(self.reference, rows, least_images=least)
            values.append(found.value)
            stderrs.append(found.stderr)
        first = {"N/d": ratio, "first point": f"{least_share:.0%} of N"}
        return {**self.names, **first, **summarise(values, stderrs)}

    def paired(self, ratio: float, correlation: float) -> Row:
        """Returns the row of two models' difference, their noise correlated."""
        count = int(ratio * self.width)
        other = self.model.another(self.rng, by=0.05)
        found = [self._differences(other, count, correlation) for _ in range(2 * self.sets)]
        (corrected, plain) = zip(*found, strict=True)
        values = [d.value for d in plain]
        return {
            **self.names,
            "noise correlation": correlation,
            "difference": f"{np.mean(values):.3g}",
            **summarise(values, [d.stderr for d in corrected]),
            "coverage": coverage_of(corrected),
            "power": f"{np.mean([d.conclusive for d in corrected]):.0%}",
            "without curvature: ratio": ratio_of([d.stderr for d in plain], values),
            "coverage ": coverage_of(plain),
        }

    def _differences(
        self, other: Population, count: int, correlation: float
    ) -> tuple[Difference, Difference]:
        """Returns the difference of two sets with and without the curvature."""
        labels, shape = self.rng.integers(0, CLASSES, count), (count, self.width)
        noise, fresh = (self.truth.noise(self.rng, shape) for _ in range(2))
        mixed = correlation * noise + np.sqrt(1 - correlation**2) * fresh
        kept = kept_indices(count)
        a, b = self.model.place(noise, labels), other.place(mixed, labels)
        of_a, of_b = solve(self.reference, a), solve(self.reference, b)
        known = (
            of_a.value,
            of_a.influence(a[kept]),
            of_b.value,
            of_b.influence(b[kept]),
            count,
        )
        curvatures = {
            "curvature_a": of_a.curvature(a[kept]),
            "curvature_b": of_b.curvature(b[kept]),
        }
        return paired_difference(*known, **curvatures), paired_difference(*known)


def coverage_of(found: Sequence[Difference]) -> str:
    """Returns how often two standard errors reach the mean difference over all sets."""
    truth = np.mean([each.value for each in found])
    return f"{np.mean([abs(each.value - truth) <= 2 * each.stderr for each in found]):.1%}"


def print_markdown(title: str, rows: list[Row]) -> None:
    """Prints rows of the same columns as a Markdown table."""
    heads = list(rows[0])
    print(f"\n**{title}**\n")
    print(f"| {' | '.join(heads)} |")
    print(f"|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(str(row[head]) for head in heads)} |")
    print(flush=True)


def make_tables(options: argparse.Namespace) -> dict[str, Callable[[], list[Row]]]:
    """Returns what makes the rows of each table."""

    def each(*by: float) -> list[Study]:
        return [Study(kind, options, by=size) for size in by for kind in NOISE]

    far, near = 0.4, 0.1
    return {
        "Generated set": lambda: [s.generated(r) for s in each(far, near) for r in RATIOS],
        "Generated set of the reference's own distribution": lambda: [
            s.generated(r) for s in each(0.0) for r in RATIOS[2:]
        ],
        "Reference set": lambda: [s.of_reference(r) for s in each(far, near) for r in RATIOS],
        "Class-balanced set": lambda: [
            Study("mixture", options, by=size).balanced(r) for size in (far, near) for r in RATIOS
        ],
        "Difference of two sets": lambda: [
            s.paired(10, c) for s in each(far, near) for c in (0, 0.5, 0.95)
        ],
        "Extrapolated to infinitely many images": lambda: [
            s.infinity(*sizes)
            for s in each(far, near)
            for sizes in ((10, 0.5), (25, 0.5), (100, 0.1))
        ],
    }


def main() -> None:
    """Simulates and reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=64, help="d (%(default)s)")
    parser.add_argument("--sets", type=int, default=400, help="sets of each row (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("out/bench/calibration.json"))
    options = parser.parse_args()
    tables = {}
    for title, make_rows in make_tables(options).items():
        tables[title] = make_rows()
        print_markdown(title, tables[title])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    settings = {"width": options.width, "sets": options.sets, "seed": options.seed}
    options.json.write_text(json.dumps({**settings, "tables": tables}, indent=2) + "\n")


if __name__ == "__main__":
    main()
