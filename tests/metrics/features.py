"""Seeded features that the tests and the fixtures of reference tools are made from."""

import pathlib

import numpy as np


def make_small_features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns 120 reference and 90 generated features of width 24, and 120 x 11 logits, float32.

    Positive like pool3; the generated ones are spread less, so that precision exceeds recall.
    """
    rng = np.random.RandomState(7)
    reference = np.abs(rng.randn(120, 24)).astype(np.float32)
    generated = (0.8 * np.abs(rng.randn(90, 24)) + 0.1).astype(np.float32)
    return reference, generated, (3 * rng.randn(120, 11)).astype(np.float32)


def make_infinity_features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a reference's mean and covariance and 6,500 generated features, of width 8."""
    rng = np.random.RandomState(11)
    mixing = rng.randn(8, 8)
    return np.zeros(8), mixing @ mixing.T, rng.randn(6500, 8) @ mixing.T * 1.1


def make_many_logits() -> np.ndarray:
    """Returns 12,345 x 7 logits: two splits of 5,000 and a shorter one."""
    return (2 * np.random.RandomState(13).randn(12345, 7)).astype(np.float32)


def load_expected() -> dict[str, float]:
    """Returns the reference tools' values, as `scripts/fixtures/make_metric_fixtures.py` wrote them."""
    with np.load(pathlib.Path(__file__).parents[1] / "fixtures" / "metrics_expected.npz") as file:
        return {name: float(file[name]) for name in file.files}


def make_ties():
    """Sets that a screening by float32 cannot decide, by name: the reference and the generated one."""
    rng = np.random.default_rng(0)

    def lattice(count):
        return rng.integers(0, 3, (count, 8)).astype(np.float32)

    def shell(count):
        """Directions of nearly one length from a middle: distances that differ in the tenth digit."""
        axes = np.concatenate([np.eye(40), -np.eye(40)])[rng.permutation(80)[:count]]
        return axes * (1 + 1e-9 * rng.integers(0, 5, (len(axes), 1)))

    points = 5 + rng.random((11, 512), np.float32)
    plain = rng.normal(size=(90, 24))
    return {
        "lattice": (lattice(130), lattice(110)),
        "shell": (shell(70), shell(60)),
        "copies": (np.repeat(points, 6, axis=0), np.tile(points, (8, 1))),
        "tiny": (1e-25 * plain, 1e-25 * (plain[::-1] + 0.1)),
        "huge": (1e25 * plain, 1e25 * (plain[::-1] + 0.1)),
        "one far away": (np.concatenate([plain, [[1e9] * 24]]), plain + 0.1),
    }
