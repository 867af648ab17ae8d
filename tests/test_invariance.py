"""One data set through every combination of devices, batch size and workers gives one value."""

import itertools

import numpy as np
import pytest

from jaxfid.evaluate import compute_metrics

COMBINATIONS = list(itertools.product((1, 2, 8), (1, 7, 64), (0, 2)))
ALWAYS = {(2, 7, 2)}


def draw(count: int, top: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(*rng.integers(10, 40, 2), 3) for _ in range(count)]
    return [rng.integers(0, top, shape, dtype=np.uint8) for shape in shapes]


REAL, DRAWN = draw(41, 256, 0), draw(38, 180, 1)


def compute(**settings):
    (scored,) = compute_metrics(REAL, [DRAWN], dims=64, weights="untrained", **settings).results
    return scored.metrics["fid"].value


@pytest.fixture(scope="module")
def expected() -> float:
    return compute(devices=1, batch_size=16, num_workers=0)


@pytest.mark.parametrize(
    ("devices", "batch_size", "workers"),
    [pytest.param(*one, marks=() if one in ALWAYS else pytest.mark.slow) for one in COMBINATIONS],
)
def test_devices_batch_size_and_workers_change_nothing(expected, devices, batch_size, workers):
    found = compute(devices=devices, batch_size=batch_size, num_workers=workers)
    assert found == pytest.approx(expected, rel=1e-6)  # as promised
