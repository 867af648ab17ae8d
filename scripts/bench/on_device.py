"""Images that are in device memory already, to their FID: the whole in seconds, and the solve in it.

`Evaluator` on one device, as a training loop would use it: the sums are updated batch by batch, then
the score is computed. Cold is the first run of a precision, compilation included.

    .venv/bin/python scripts/bench/on_device.py --weights FILE

50,000 images on a GPU, about 5 minutes for the three precisions; 96 on a CPU, where this is a check of
values more than of speed, 2 minutes.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np
from lib.drawn import draw_pictures
from lib.measure import Spread, alternate, make_parser
from lib.pipeline import fid_of, start_jax
from lib.report import Report, Row

from jaxfid import compute_metrics, compute_stats
from jaxfid.evaluator import Evaluator

DRAWN = 64
AGREEMENT = 1e-6
"""Relative, between the evaluator's value and the facade's of the same images."""
COMPARED = 512
PLANS = {
    "cpu": {"precisions": ["float32"], "images": 96, "batch_size": 16},
    "gpu": {
        "precisions": ["float32", "tensorfloat32", "bfloat16"],
        "images": 50_000,
        "batch_size": 500,
    },
}
GOALS_S = {"tensorfloat32": 20.0, "bfloat16": 10.0}
SOLVE_GOAL_S = 2.0

Batches = list[jax.Array]


def make_batches(count: int, batch_size: int, side_px: int, *, seed: int) -> Batches:
    """Returns batches of uint8 images on the device: a few pictures, each time under other noise."""
    drawn = np.stack(list(draw_pictures(DRAWN, side_px, seed=seed)))

    @jax.jit
    def disturb(key: jax.Array) -> jax.Array:
        which, noise = jax.random.split(key)
        chosen = jax.numpy.asarray(drawn)[jax.random.randint(which, (batch_size,), 0, DRAWN)]
        noisy = chosen + 25 * jax.random.normal(noise, chosen.shape)
        return noisy.round().clip(0, 255).astype(np.uint8)

    keys = jax.random.split(jax.random.key(seed), count // batch_size)
    return [disturb(key).block_until_ready() for key in keys]


class Run:
    """One precision: a reference, an evaluator, and what its runs gave."""

    def __init__(self, settings: dict[str, Any], batches: Batches, others: Batches) -> None:
        self._settings, self._batches = settings, batches
        self._reference = compute_stats(_on_host(others), **settings)
        self._evaluator = Evaluator(self._reference, **settings)
        self._step = jax.jit(lambda evaluator, state, images: evaluator.update(state, images))
        self.value, self._last_solve_s = float("nan"), 0.0
        self.solve_s: list[float] = []
        self.cold_s = self()
        self.solve_s.clear()

    def score(self, batches: Batches) -> float:
        """Returns the FID of the images in these batches."""
        state = self._evaluator.init()
        for images in batches:
            state = self._step(self._evaluator, state, images)
        jax.block_until_ready(state)
        start = time.perf_counter()
        value = fid_of(self._evaluator.compute(state))
        self._last_solve_s = time.perf_counter() - start
        return value

    def __call__(self) -> float:
        """Scores all images and returns the seconds that it took."""
        start = time.perf_counter()
        self.value = self.score(self._batches)
        seconds = time.perf_counter() - start
        self.solve_s.append(self._last_solve_s)
        return seconds

    def distance_from_facade(self) -> float:
        """Returns by what share the first images' FID differs from that of `compute_metrics`."""
        few = self._batches[: max(1, COMPARED // len(self._batches[0]))]
        (scored,) = compute_metrics(self._reference, [_on_host(few)], **self._settings).results
        return abs(self.score(few) / fid_of(scored) - 1)


def _on_host(batches: Batches) -> np.ndarray:
    return np.concatenate([np.asarray(batch) for batch in batches])


def _parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--weights", default="untrained", help="(default %(default)s)")
    parser.add_argument("--images", type=int, help="a multiple of the batch size")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--precisions", nargs="+", choices=PLANS["gpu"]["precisions"])
    parser.add_argument("--side", type=int, default=32, help="of the images, pixels (%(default)s)")
    parser.add_argument("--dims", type=int, default=2048)
    options = parser.parse_args()
    for name, value in PLANS[jax.default_backend()].items():
        setattr(options, name, getattr(options, name) or value)
    if options.images % options.batch_size:
        parser.error(f"--images: expected a multiple of {options.batch_size}")
    return options


def _make_runs(options: argparse.Namespace, report: Report) -> dict[str, Run]:
    sizes = (options.batch_size, options.side)
    batches = make_batches(options.images, *sizes, seed=1)
    others = make_batches(max(options.images // 2, options.batch_size), *sizes, seed=0)
    fixed = {"weights": options.weights, "dims": options.dims}
    runs = {}
    for precision in options.precisions:
        run = runs[precision] = Run({**fixed, "precision": precision}, batches, others)
        what = f"{precision}: FID by the evaluator and the facade, relative"
        report.check(what, run.distance_from_facade(), AGREEMENT)
    return runs


def _show_goals(report: Report, runs: dict[str, Run], found: dict[str, Spread]) -> None:
    for precision, seconds in found.items():
        solve_s = Spread(tuple(runs[precision].solve_s)).median
        report.goal(f"{precision}: the solve, s", solve_s, SOLVE_GOAL_S, at_most=True)
        if goal_s := GOALS_S.get(precision):
            report.goal(f"{precision}: whole, s", seconds.median, goal_s, at_most=True)


def main() -> None:
    """Runs the bench."""
    start_jax(1)
    options = _parse()
    report = Report(options)
    report.note(f"device: {jax.devices()[0].device_kind}")
    runs = _make_runs(options, report)
    found = alternate(runs, options.rounds)
    rows: list[Row] = [
        {
            "precision": precision,
            "whole, warm, s": seconds,
            "of it the solve, s": Spread(tuple(runs[precision].solve_s)),
            "images/s": seconds.map(lambda s: options.images / s),
            "whole, cold, s": round(runs[precision].cold_s, 2),
            "FID": runs[precision].value,
        }
        for precision, seconds in found.items()
    ]
    report.table(
        f"{options.images} images of {options.side} pixels from device memory to FID, "
        f"dims {options.dims}, weights {options.weights}",
        rows,
    )
    if jax.default_backend() == "gpu" and options.images == PLANS["gpu"]["images"]:
        _show_goals(report, runs, found)
    else:
        report.note("50,000 images on a GPU: not measured, there is none here or fewer were asked.")
    report.save()


if __name__ == "__main__":
    main()
