"""The network alone: jaxfid's against pytorch-fid's in PyTorch, same images, same weights, same machine.

On a CPU: float32, PyTorch as pytorch-fid runs it (nchw) and in its best layout (channels_last), both
without gradients. On a GPU also tensorfloat32 and bfloat16, several batch sizes, and torch.compile; each
side's best batch size is found in a first round, and only those alternate. Resize and scaling to 299 pixels
are part of both networks; compilation is not in the times.

    .venv/bin/python scripts/bench/network.py --peer-python PYTHON --weights FILE

About 4 minutes at the defaults on two cores.
"""

import argparse
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from lib.drawn import draw_pictures
from lib.measure import Spread, alternate, make_parser
from lib.network_rate import JaxfidNetwork, measure_matmul_rate
from lib.pipeline import start_jax
from lib.processes import Served
from lib.report import Report, Row

SIDE_PX = 32
FEATURE_TOLERANCE = {"float32": 1e-5, "tensorfloat32": 1e-2, "bfloat16": 1e-1}
"""Relative L2 of an image's features against PyTorch's float32: roundings of 2**-24, 2**-11 and 2**-9 that
grow over some twenty layers in a row; the first also has the rounding of the resize."""
PEER_FACTOR = 2
"""PyTorch may be off by so much more: it resizes and normalises in bfloat16 too, and 1e-1 is seen."""
PLANS = {
    "cpu": {"device": "cpu", "precisions": ["float32"], "modes": ["eager"], "batch_sizes": [32]},
    "gpu": {
        "device": "cuda",
        "precisions": list(FEATURE_TOLERANCE),
        "modes": ["eager", "compile"],
        "batch_sizes": [64, 256, 512],
    },
}
STEPS, GOALS, MATMUL_WIDTHS = (
    {"cpu": 3, "gpu": 20},
    {"cpu": 1.0, "gpu": 1.5},
    {"cpu": 2048, "gpu": 8192},
)
LAYOUTS = ("nchw", "channels_last")
PEER = Path(__file__).parents[1] / "peers" / "torch_network.py"


def _parse() -> argparse.Namespace:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--peer-python", type=Path, required=True, help="a Python with pytorch-fid")
    parser.add_argument("--weights", help="default: each tool's own official copy")
    parser.add_argument("--precisions", nargs="+", choices=FEATURE_TOLERANCE)
    parser.add_argument("--batch-sizes", nargs="+", type=int)
    parser.add_argument("--modes", nargs="+", choices=("eager", "compile"))
    parser.add_argument("--steps", type=int, help="batches in one timed run")
    options = parser.parse_args()
    plan = PLANS[jax.default_backend()]
    for name, value in plan.items():
        setattr(options, name, getattr(options, name, None) or value)
    options.steps = options.steps or STEPS[jax.default_backend()]
    return options


class Comparison:
    """Both networks at one precision after another."""

    def __init__(self, options: argparse.Namespace, images: np.ndarray, torch: Served) -> None:
        self._options, self._images, self._torch = options, images, torch
        self._report: Report = options.report
        self.rows: list[Row] = []
        self._expected = self._torch_features("float32")

    def _torch_features(self, precision: str) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "features.npy"
            self._ask_torch(len(self._images), "nchw", precision, "eager", features=str(path))
            return np.load(path)

    def _ask_torch(
        self, batch_size: int, layout: str, precision: str, mode: str, **more: str
    ) -> float:
        wanted = {"layout": layout, "precision": precision, "mode": mode, "batch_size": batch_size}
        return self._torch.ask(**wanted, steps=self._options.steps, **more)["seconds"]

    def run(self, precision: str) -> None:
        """Adds this precision's rows, best batch size of each side."""
        o = self._options
        own = JaxfidNetwork(self._images, o.weights or "auto", precision, o.steps)
        self._check(precision, own)
        sides = self._sides(precision, own)
        best = {
            side: min(o.batch_sizes, key=lambda n, r=run: r(n) / n) for side, run in sides.items()
        }
        timed = {side: functools.partial(run, best[side]) for side, run in sides.items()}
        rates = {
            side: seconds.map(lambda s, n=best[side]: o.steps * n / s)
            for side, seconds in alternate(timed, o.rounds).items()
        }
        self._add_rows(precision, best, rates, own.flops())

    def _check(self, precision: str, own: JaxfidNetwork) -> None:
        for side, found, factor in (
            ("jaxfid", own.features(), 1),
            ("PyTorch", self._torch_features(precision), PEER_FACTOR),
        ):
            errors = np.linalg.norm(found - self._expected, axis=1)
            worst = (errors / np.linalg.norm(self._expected, axis=1)).max()
            what = f"{side}, {precision}: features against PyTorch's float32, relative L2"
            self._report.check(what, worst, factor * FEATURE_TOLERANCE[precision])

    def _sides(self, precision: str, own: JaxfidNetwork) -> dict[str, Callable[[int], float]]:
        """Returns each side's seconds as a function of the batch size."""
        peers = {
            f"PyTorch, {layout}, {mode}": functools.partial(
                self._ask_torch, layout=layout, precision=precision, mode=mode
            )
            for mode in self._options.modes
            for layout in LAYOUTS
        }
        return {"jaxfid": own.run, **peers}

    def _add_rows(
        self, precision: str, best: dict[str, int], rates: dict[str, Spread], flops: float
    ) -> None:
        width = MATMUL_WIDTHS[jax.default_backend()]
        matmul = measure_matmul_rate(precision, width, self._options.rounds).median
        self._report.note(f"{precision}: products of {width} x {width}: {matmul:.3e} operations/s")
        fastest = max(rate.median for side, rate in rates.items() if side != "jaxfid")
        self.rows += [
            {
                "precision": precision,
                "side": side,
                "batch size": best[side],
                "images/s": rate,
                "times the best PyTorch": round(rate.median / fastest, 3),
                "share of the matmul rate": round(rate.median * flops / matmul, 3),
            }
            for side, rate in rates.items()
        ]
        ratio = rates["jaxfid"].median / fastest
        goal = GOALS[jax.default_backend()]
        self._report.goal(f"jaxfid / the best PyTorch, {precision}", ratio, goal)


def _empty_rows() -> list[Row]:
    plan = PLANS["gpu"]
    sides = ["jaxfid", *(f"PyTorch, {layout}, {m}" for m in plan["modes"] for layout in LAYOUTS)]
    return [
        {"precision": p, "side": s, "batch size": None, "images/s": None}
        for p in plan["precisions"]
        for s in sides
    ]


def main() -> None:
    """Runs the bench."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs the card too
    start_jax()
    options = _parse()
    options.report = report = Report(options)
    report.add_peer(options.peer_python)
    report.note(f"device: {jax.device_count()} x {jax.devices()[0].device_kind}")
    images = np.stack(list(draw_pictures(min(options.batch_sizes), SIDE_PX, seed=0)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, images)
        command = (options.peer_python, PEER, options.weights or "-", path, options.device)
        with Served(command) as torch:
            comparison = Comparison(options, images, torch)
            for precision in options.precisions:
                comparison.run(precision)
    report.table(f"Network alone, {SIDE_PX}-pixel images", comparison.rows)
    if options.device == "cpu":
        report.table("On a GPU: not measured, there is none here", _empty_rows())
    report.save()


if __name__ == "__main__":
    main()
