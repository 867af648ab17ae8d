"""What a bench prints and writes: checks of values, tables, goals, and the machine they are from."""

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.machine import measure_busy_share, read_cpu_name, read_versions
from lib.measure import Spread
from lib.processes import run_process

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
BUSY_SHARE = 0.05
"""Of all cores: with more of them at other work, a note says that times mean little."""

Cell = str | int | float | Spread | None
Row = Mapping[str, Cell]


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
