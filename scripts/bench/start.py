"""What starting costs: `jaxfid --help`, and the seconds of a warm `jaxfid score` of 20 images.

The reference is statistics, the compile cache is full, and the seconds are said by what they go to, as CPU
time and as time on the clock. `--before FOLDER` is a checkout of another commit; both sides alternate.

    .venv/bin/python scripts/bench/start.py --before ../jaxfid-before

About 2 minutes on two cores.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from lib.drawn import draw_pictures, write_zip
from lib.measure import Spread, alternate, make_parser
from lib.processes import Finished, jaxfid_command, run_process
from lib.report import Report, Row

HELP_GOAL_S = 0.15
AGREEMENT = 1e-6
IMAGES = 20


class Side:
    """One checkout: what its commands take."""

    def __init__(self, root: Path, folder: Path, dims: int) -> None:
        self._root, self._folder, self._dims = root, folder, dims
        self.values: list[float] = []
        self.phases: list[dict[str, list[float]]] = []
        self.clock_s: list[float] = []

    def run(self, command: list[str | Path]) -> Finished:
        """Runs a program with this checkout's jaxfid."""
        os.environ["PYTHONPATH"] = str(self._root)
        return run_process(command)

    def help_cpu_s(self) -> float:
        """Returns the CPU seconds of `jaxfid --help`."""
        return self.run(jaxfid_command("--help")).cpu_s

    def score_cpu_s(self) -> float:
        """Scores the images, keeps the phases, and returns the CPU seconds."""
        found = self.run(
            [
                *(sys.executable, Path(__file__).parent / "lib" / "phases.py"),
                *("score", self._folder / "reference.npz", self._folder / "images.zip"),
                *("--weights", "untrained", "--dims", str(self._dims), "--json", "-"),
                *("--compile-cache", self._folder / f"compiled-{self._root.name}"),
            ]
        )
        answer = _read_last_line(found.stdout)
        self.values.append(answer["value"])
        self.phases.append(answer["phases"])
        self.clock_s.append(found.seconds)
        return found.cpu_s


def _read_last_line(text: str) -> dict:
    return json.loads(text.strip().splitlines()[-1])


def _write_inputs(folder: Path, dims: int) -> None:
    write_zip(folder / "images.zip", draw_pictures(IMAGES, 32, seed=0), "png")
    # Of full rank, as a reference is that has more images than features.
    rng = np.random.default_rng(0)
    few = rng.normal(size=(dims, 32)) / 30
    cov = few @ few.T + 0.01 * np.eye(dims)
    np.savez(folder / "reference.npz", mu=np.full(dims, 0.4), sigma=(cov + cov.T) / 2)


def _phase_rows(sides: dict[str, Side]) -> list[Row]:
    rows = []
    for name, side in sides.items():
        for phase in side.phases[-1]:
            cpu, clock = (Spread(tuple(run[phase][k] for run in side.phases)) for k in (0, 1))
            rows.append({"side": name, "what": phase, "CPU, s": cpu, "clock, s": clock})
    return rows


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of another commit (default: none)")
    parser.add_argument("--dims", type=int, default=2048, help="64 to 2048 (%(default)s)")
    options = parser.parse_args()
    report = Report(options)
    roots = {"this": Path(__file__).parents[2]}
    if options.before is not None:
        roots["before"] = options.before.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_inputs(folder, options.dims)
        sides = {label: Side(root, folder, options.dims) for label, root in roots.items()}
        for side in sides.values():
            side.score_cpu_s()  # fills the cache
            side.phases.clear()
            side.clock_s.clear()
        helps = alternate({k: side.help_cpu_s for k, side in sides.items()}, options.rounds)
        scores = alternate({k: side.score_cpu_s for k, side in sides.items()}, options.rounds)
    values = [value for side in sides.values() for value in side.values]
    report.check("FID of all runs, relative", max(values) / min(values) - 1, AGREEMENT)
    rows: list[Row] = [
        {
            "side": label,
            "--help, CPU s": helps[label],
            "score, CPU s": scores[label],
            "score, clock s": Spread(tuple(sides[label].clock_s)),
        }
        for label in sides
    ]
    report.table(f"Start, dims {options.dims}, {IMAGES} images, untrained weights", rows)
    report.table("By what they go to", _phase_rows(sides))
    report.goal("--help, CPU s", helps["this"].median, HELP_GOAL_S, at_most=True)
    report.save()


if __name__ == "__main__":
    main()
