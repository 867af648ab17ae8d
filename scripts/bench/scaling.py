"""The same FID on 1, 2, 4 and 8 devices and on 1, 2 and 4 processes: all must agree to 1e-6 relative.

Devices are JAX's simulated CPU devices, in this process; processes are whole `jaxfid score --distributed`
runs that meet over loopback, one device each. On one machine both share its cores: the times say what the
bookkeeping costs, not how fast a pod would be.

    .venv/bin/python scripts/bench/scaling.py --images DIR --reference DIR --weights FILE

About 8 minutes at the defaults on two cores, most of it for compiling once per number of devices.
"""

import argparse
import json
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from lib.drawn import draw_pictures, write_folder
from lib.measure import Spread, alternate, make_parser, time_call
from lib.pipeline import fid_of, start_jax
from lib.processes import jaxfid_command, run_together
from lib.report import Report, Row

from jaxfid import compute_metrics, compute_stats, save_stats

AGREEMENT = 1e-6
Sides = dict[str, Callable[[], float]]


class Runs:
    """One set against one file of statistics, on any number of devices or processes."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._cache = folder / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(self._cache))
        self._settings: dict[str, Any] = {
            "weights": options.weights,
            "dims": options.dims,
            "limit": options.limit,
        }
        self._images = options.images or self._draw("images", seed=1)
        reference = options.reference or self._draw("reference", seed=0)
        self._stats = folder / "reference.npz"
        save_stats(self._stats, compute_stats(reference, **self._settings))
        self.values: dict[str, float] = {}

    def _draw(self, name: str, *, seed: int) -> Path:
        pictures = draw_pictures(self._options.limit, 32, seed=seed)
        return write_folder(self._folder / name, pictures, "png")

    def on_devices(self, count: int) -> float:
        """Scores the set on so many devices of this process and returns its FID."""
        result = compute_metrics(self._stats, [self._images], devices=count, **self._settings)
        return fid_of(result.results[0])

    def on_processes(self, count: int) -> float:
        """Scores the set with so many processes and returns the FID that the first of them wrote."""
        output = self._folder / "result.json"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        distributed = ("--distributed", "--coordinator", coordinator, "--num-processes", count)
        settings = [word for key, value in self._settings.items() for word in (f"--{key}", value)]
        command = jaxfid_command(
            "score", self._stats, self._images, "--json", output, "--devices", "1"
        )
        command += ["--compile-cache", self._cache, *map(str, (*settings, *distributed))]
        run_together([[*command, "--process-id", str(index)] for index in range(count)])
        return json.loads(output.read_text())["results"][0]["metrics"]["fid"]["value"]

    def timed(self, name: str, score: Callable[[], float]) -> Callable[[], float]:
        """Returns the run that keeps its value and answers its seconds; run once already, to compile."""

        def run() -> float:
            def keep() -> None:
                self.values[name] = score()

            return time_call(keep)

        run()
        return run


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=Path, help="what to score (default: drawn pictures)")
    parser.add_argument("--reference", type=Path, help="what to score against (likewise)")
    parser.add_argument("--weights", default="untrained", help="(default %(default)s)")
    parser.add_argument("--dims", type=int, default=2048)
    parser.add_argument("--limit", type=int, default=128, help="images of each (%(default)s)")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4])
    options = parser.parse_args()
    report = Report(options)
    start_jax(max(options.devices))
    sides: Sides = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(options, Path(folder))
        for count in options.devices:
            name = f"{count} device{'s' * (count > 1)}"
            sides[name] = runs.timed(name, lambda n=count: runs.on_devices(n))
        for count in options.processes:
            name = f"{count} process{'es' * (count > 1)}"
            sides[name] = runs.timed(name, lambda n=count: runs.on_processes(n))
        found: dict[str, Spread] = alternate(sides, options.rounds)
    expected = next(iter(runs.values.values()))
    apart = {name: abs(value / expected - 1) for name, value in runs.values.items()}
    report.check("FID of all against the first, relative", max(apart.values()), AGREEMENT)
    rows: list[Row] = [
        {"on": name, "FID": repr(runs.values[name]), "apart": apart[name], "seconds": found[name]}
        for name in sides
    ]
    report.table(f"{options.limit} images, dims {options.dims}, weights {options.weights}", rows)
    report.note(
        "Seconds: a whole process each for processes; for devices without the start of Python."
    )
    report.save()


if __name__ == "__main__":
    main()
