"""How far the Frechet distance is off on pairs of covariances that are drawn to mislead it.

Spectra of up to twelve digits (falling, in two steps, at random, singular), along directions that are
shared, unrelated, shared in part, or almost shared. The expected value comes from the factors that the
covariances are made of, by NumPy's singular values. Forming the covariance rounds it already, which is
part of what is found.

    .venv/bin/python scripts/bench/solve_accuracy.py

About a minute at the defaults on two cores.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64
from lib.measure import make_parser
from lib.report import Report, Row

from jaxfid.metrics.frechet import solve
from jaxfid.metrics.frechet.distance import frechet_distance

Rng = np.random.Generator
Factor = Float64[np.ndarray, "d d"]


def _falling(rng: Rng, width: int) -> np.ndarray:
    return np.geomspace(1, 10 ** -rng.uniform(0, 12), width)


def _two_steps(rng: Rng, width: int) -> np.ndarray:
    return np.where(np.arange(width) < rng.integers(1, width), 1, 10 ** -rng.uniform(2, 12))


def _random(rng: Rng, width: int) -> np.ndarray:
    return 10 ** -rng.uniform(0, 10, width)


def _singular(rng: Rng, width: int) -> np.ndarray:
    return _falling(rng, width) * (np.arange(width) < rng.integers(1, width))


SPECTRA: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "falling": _falling,
    "two steps": _two_steps,
    "random": _random,
    "singular": _singular,
}


def _shared(rng: Rng, width: int) -> np.ndarray:
    return np.eye(width)


def _unrelated(rng: Rng, width: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def _shared_in_part(rng: Rng, width: int) -> np.ndarray:
    directions = np.eye(width)
    half = width - width // 2
    directions[::2, ::2] = _unrelated(rng, half)
    return directions


def _almost_shared(rng: Rng, width: int) -> np.ndarray:
    return np.linalg.qr(np.eye(width) + rng.normal(size=(width, width)) / 1e4)[0]


DIRECTIONS: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "shared": _shared,
    "unrelated": _unrelated,
    "shared in part": _shared_in_part,
    "almost shared": _almost_shared,
}


def draw_factor(rng: Rng, spectrum: str, directions: str, width: int) -> Factor:
    """Returns a factor of a covariance whose variances come in any order and scale."""
    variances = rng.permutation(SPECTRA[spectrum](rng, width)) * 10 ** rng.uniform(-3, 3)
    return DIRECTIONS[directions](rng, width) * np.sqrt(variances)


def measure_error(a: Factor, b: Factor) -> float:
    """Returns how far the distance is off, as a share of the traces."""
    traces = np.vdot(a, a) + np.vdot(b, b)
    expected = traces - 2 * np.linalg.svd(a.T @ b, compute_uv=False).sum()
    mean = np.zeros(len(a))
    found = frechet_distance(mean, a @ a.T, mean, b @ b.T)
    return float(abs(found - max(expected, 0)) / traces)


def main() -> None:
    """Draws and reports."""
    parser = make_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=8000)
    parser.add_argument("--width", type=int, default=24)
    options = parser.parse_args()
    report = Report(options)
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = {name: [] for name in SPECTRA}
    for _ in range(options.pairs):
        name = str(rng.choice(list(SPECTRA)))
        other = str(rng.choice(list(SPECTRA)))
        sides = [
            draw_factor(rng, side, str(rng.choice(list(DIRECTIONS))), options.width)
            for side in (name, other)
        ]
        errors[name].append(measure_error(*sides))
    rows: list[Row] = [
        {
            "spectrum of one side": name,
            "pairs": len(found),
            "median": float(np.median(found)),
            "worst": max(found),
        }
        for name, found in errors.items()
    ]
    report.table("Error as a share of the traces", rows)
    worst = max(max(found) for found in errors.values())
    report.check("worst error, share of the traces", worst, solve.ACCURACY)
    report.save()


if __name__ == "__main__":
    main()
