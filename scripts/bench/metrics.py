"""All metrics of two sets of features: jaxfid against torch-fidelity and prdc, in time and memory.

Each tool runs in processes of its own, on the same random features; the values must agree first. It is
compared on the metrics that it has: `prc` is precision and recall, `manifold` has density and coverage too,
and in jaxfid the realism of each image. jaxfid starts as its command line does, with a cache of compiled
programs that the first round fills; its figures include the standard errors. Its sets of a fifth of the
size show what grows. CPU seconds are what a busy machine alters least.

    .venv/bin/python scripts/bench/metrics.py --peer-python PYTHON --prdc-python PYTHON

About 12 minutes at the defaults on two cores.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lib.measure import Spread, alternate, make_parser
from lib.processes import run_process
from lib.report import Report, Row

WIDTH = 2048
GOAL, FEATURE_GOAL = 3.0, 1.5
MIB = 2**20
SCRIPT = Path(__file__).parents[1] / "peers" / "feature_metrics.py"
METRICS = ("fid", "kid", "prc", "manifold")
PEERS = ("torch-fidelity", "prdc")
TOLERANCE = 3e-4
"""Relative: SciPy's sqrtm leaves 1e-5, float32 distances a few images of 10,000 on the wrong side."""
KID_TOLERANCE = 3e-7
"""Absolute: torch-fidelity's kernel is float32, of values about 2."""


class Tools:
    """Every tool's command, and what its runs found."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")  # of this bench alone
        self._found: dict[str, list[dict[str, Any]]] = {}
        self.memory_mib: dict[str, list[float]] = {}

    def write_features(self, count: int) -> None:
        """Writes two sets of random features, positive as pool3 is, one a little stretched."""
        rng = np.random.default_rng(0)
        for name, stretch in (("reference", 1), ("generated", 1.01)):
            features = np.float32(stretch) * rng.random((count, WIDTH), np.float32) ** 2
            np.save(self._folder / f"{name}-{count}.npy", features)

    def run(self, label: str, python: str | Path, tool: str, count: int) -> float:
        """Runs a tool in a process of its own and returns the seconds of its metrics."""
        paths = (self._folder / f"{name}-{count}.npy" for name in ("reference", "generated"))
        finished = run_process([python, SCRIPT, tool, *paths])
        self._found.setdefault(label, []).append(json.loads(finished.stdout))
        beside_features = finished.peak_bytes - 2 * count * WIDTH * 4
        self.memory_mib.setdefault(label, []).append(beside_features / MIB)
        return self.time(label, self.metrics(label), "seconds").runs[-1]

    def metrics(self, label: str) -> Sequence[str]:
        """Returns the metrics that a tool has."""
        return [name for name in METRICS if name in self._found[label][-1]]

    def values(self, label: str) -> dict[str, float]:
        """Returns the values that the last run of a tool found."""
        metrics = self._found[label][-1].values()
        return {name: value for metric in metrics for name, value in metric["values"].items()}

    def time(self, label: str, metrics: Sequence[str], what: str) -> Spread:
        """Returns the `seconds` or `cpu_seconds` of these metrics over a tool's runs."""
        runs = self._found[label]
        return Spread(tuple(sum(run[metric][what] for metric in metrics) for run in runs))


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--peer-python", type=Path, required=True, help="has torch-fidelity")
    parser.add_argument("--prdc-python", type=Path, required=True, help="has prdc")
    parser.add_argument("--count", type=int, default=10_000, help="images a side (%(default)s)")
    options = parser.parse_args()
    report = Report(options)
    report.add_peer(options.peer_python)
    sides = {
        "jaxfid, a fifth": (sys.executable, "jaxfid", options.count // 5),
        "jaxfid": (sys.executable, "jaxfid", options.count),
        "torch-fidelity": (options.peer_python, "torch_fidelity", options.count),
        "prdc": (options.prdc_python, "prdc", options.count),
    }
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(Path(folder))
        for count in {count for *_, count in sides.values()}:
            tools.write_features(count)
        calls = {label: lambda s=side, x=label: tools.run(x, *s) for label, side in sides.items()}
        totals = alternate(calls, options.rounds)
    check_values(report, tools)
    title = f"{options.count} against {options.count} features of width {WIDTH}"
    report.table(title, [describe(tools, label) for label in sides])
    report.table("jaxfid's advantage on the metrics that another tool has", [*compare(tools)])
    slower = max(PEERS, key=lambda label: totals[label].median)
    own = tools.time("jaxfid", tools.metrics(slower), "seconds")
    found = totals[slower].median / own.median
    report.goal(f"times as fast as the slower tool, {slower}, on its metrics", found, GOAL)
    both = ("kid", "prc")
    peer = tools.time("torch-fidelity", both, "seconds").median
    found = peer / tools.time("jaxfid", both, "seconds").median
    report.goal("times as fast as torch-fidelity on KID, precision, recall", found, FEATURE_GOAL)
    report.save()


def check_values(report: Report, tools: Tools) -> None:
    """Requires that jaxfid's values are those of the other tools."""
    own = tools.values("jaxfid")
    for label in PEERS:
        for name, value in tools.values(label).items():
            if name.startswith("kid"):
                report.check(f"{name} of {label}", abs(own[name] - value), KID_TOLERANCE)
            else:
                report.check(f"{name} of {label}, relative", abs(own[name] / value - 1), TOLERANCE)


def describe(tools: Tools, label: str) -> Row:
    """Returns what a tool took."""
    metrics = tools.metrics(label)
    return {
        "tool": label,
        **{
            f"{name}, s": tools.time(label, [name], "seconds") if name in metrics else None
            for name in METRICS
        },
        "all, s": tools.time(label, metrics, "seconds"),
        "all, CPU s": tools.time(label, metrics, "cpu_seconds"),
        "peak beside features, MiB": Spread(tuple(tools.memory_mib[label])),
    }


def compare(tools: Tools) -> Iterator[Row]:
    """Gives how many times as long each other tool takes for its metrics."""
    for label in PEERS:
        metrics = tools.metrics(label)
        ratios = {
            name: tools.time(label, metrics, what).median
            / tools.time("jaxfid", metrics, what).median
            for name, what in (("time", "seconds"), ("CPU time", "cpu_seconds"))
        }
        yield {"tool": label, "metrics": " ".join(metrics), **ratios}


if __name__ == "__main__":
    main()
