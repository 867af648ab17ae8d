"""What every bench shares: whole processes, alternating rounds, medians with their spread, a report.

Imports nothing outside the standard library, so that a bench which measures processes stays small itself.
"""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import measure_busy_share, read_cpu_name, read_versions

OWN_PACKAGES = ("jaxfid", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow")
PEER_PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-fid",
    "torch-fidelity",
    "clean-fid",
    "numpy",
    "scipy",
)
SETTLE_S = 0.5
"""Pause before each timed run: threads of the side before may spin on for a while after their work."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """The runs of one side: their median, and what they lay between."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle run, or the mean of the two middle ones."""
        return statistics.median(self.runs)

    def map(self, function: Callable[[float], float]) -> "Spread":
        """Returns the same runs in another unit."""
        return Spread(tuple(map(function, self.runs)))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({min(self.runs):.4g}..{max(self.runs):.4g})"


BUSY_SHARE = 0.05
"""Of all cores: with more of them at other work, a note says that times mean little."""

Cell = str | int | float | Spread | None
Row = Mapping[str, Cell]


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Spread]:
    """Returns what each side answered: every side once per round, every second round backwards.

    So a machine that slows down or speeds up meanwhile does so for all of them.
    """
    runs: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            time.sleep(SETTLE_S)
            runs[name].append(sides[name]())
            print(f"  round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
    return {name: Spread(tuple(found)) for name, found in runs.items()}


def time_call(function: Callable[[], Any]) -> float:
    """Returns the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@dataclasses.dataclass(frozen=True)
class Finished:
    """A process that has ended well.

    Attributes:
      seconds: From its start to its end.
      peak_bytes: Most memory that was resident in it at a time, its own children not counted.
      stdout: What it printed.
    """

    seconds: float
    peak_bytes: int
    stdout: str


def run_process(command: Sequence[str | Path]) -> Finished:
    """Runs a program to its end; one that fails ends the bench with its last words."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=err)
        # Not `process.wait`: only this call tells the memory of this one child.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\nfailed:\n{err.read()[-3000:]}")
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        return Finished(seconds, usage.ru_maxrss * unit_bytes, out.read())


def jaxfid_command(*arguments: str | Path) -> list[str | Path]:
    """Returns the command line that runs this environment's jaxfid."""
    return [sys.executable, "-m", "jaxfid", *arguments]


def make_parser(purpose: str | None, *, rounds: int = 3) -> argparse.ArgumentParser:
    """Returns a parser with what all benches are asked; `purpose` is the bench's docstring."""
    parser = argparse.ArgumentParser(
        description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    name = Path(sys.argv[0]).stem
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="runs of each side (%(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, default=Path(f"out/bench/{name}.json"), help="(default %(default)s)"
    )
    return parser


class Report:
    """Prints what a bench finds as it finds it, and keeps it for the JSON file."""

    def __init__(self, options: argparse.Namespace) -> None:
        cores, busy = len(os.sched_getaffinity(0)), measure_busy_share()
        self._path = options.json
        self._kept: dict[str, Any] = {
            "bench": Path(sys.argv[0]).stem,
            "arguments": sys.argv[1:],
            "began": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": {"system": platform.platform(), "cpu": read_cpu_name(), "cores": cores},
            "versions": {"python": platform.python_version(), **read_versions(OWN_PACKAGES)},
            "busy_at_start": busy,
            **{name: [] for name in ("checks", "tables", "goals", "notes")},
        }
        self.note(f"{read_cpu_name()}, {cores} cores, {platform.platform()}")
        if busy > BUSY_SHARE:
            self.note(f"THE MACHINE IS BUSY with other work ({busy:.0%}): times mean little.")

    def add_peer(self, python: Path) -> None:
        """Keeps the versions of the other tools."""
        script = (
            f"import json; from importlib import metadata as m; found = {{}}\n"
            f"for p in {PEER_PACKAGES!r}:\n"
            f"    try: found[p] = m.version(p)\n"
            f"    except m.PackageNotFoundError: pass\n"
            f"print(json.dumps(found))"
        )
        self._kept["peer_versions"] = json.loads(run_process([python, "-c", script]).stdout)
        self.note("peers: " + ", ".join(f"{k} {v}" for k, v in self._kept["peer_versions"].items()))

    def note(self, text: str) -> None:
        """Says something that a reader of the figures has to know."""
        self._kept["notes"].append(text)
        print(text, flush=True)

    def check(self, what: str, found: float, limit: float) -> None:
        """Requires that values agree; where they do not, the bench ends before it shows any time."""
        found = float(found)
        self._kept["checks"].append({"what": what, "found": found, "limit": limit})
        holds = found <= limit  # False for NaN
        print(f"{'agrees' if holds else 'DISAGREES'}: {what}: {found:.2e}, at most {limit:.0e}")
        if not holds:
            self.save()
            raise SystemExit("The values disagree, so no times are given.")

    def goal(self, what: str, found: float, wanted: float, *, at_most: bool = False) -> None:
        """Says whether a figure reaches what was aimed for: at least that, or at most."""
        found = float(found)
        reached = found <= wanted if at_most else found >= wanted
        goal = {"what": what, "found": found, "wanted": wanted, "at_most": at_most}
        self._kept["goals"].append({**goal, "reached": reached})
        bound = f"at {'most' if at_most else 'least'} {wanted:g}"
        print(f"{'reached' if reached else 'MISSED'}: {what}: {found:.4g}, goal {bound}")

    def table(self, title: str, rows: Sequence[Row]) -> None:
        """Prints rows under their names; None is an empty cell."""
        as_json = [{name: _cell_json(cell) for name, cell in row.items()} for row in rows]
        self._kept["tables"].append({"title": title, "rows": as_json})
        heads = list(dict.fromkeys(name for row in rows for name in row))
        texts = [heads, *([_cell_text(row.get(head)) for head in heads] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        print(f"\n{title}")
        for line in texts:
            print("  " + "  ".join(map(str.ljust, line, widths)).rstrip())
        print(flush=True)

    def save(self) -> None:
        """Writes the JSON file."""
        self._kept["busy_at_end"] = measure_busy_share()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._kept, indent=2) + "\n")
        print(f"written: {self._path}")


def _cell_text(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.8g}" if isinstance(cell, float) else str(cell)


def _cell_json(cell: Cell) -> Any:  # noqa: ANN401
    if not isinstance(cell, Spread):
        return cell
    spread = {"median": cell.median, "min": min(cell.runs), "max": max(cell.runs)}
    return {**spread, "runs": cell.runs}
