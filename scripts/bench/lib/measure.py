"""Sides that alternate, and medians with their spread.

Imports nothing outside the standard library, so that a bench which measures processes stays small itself.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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

    def __sub__(self, other: "Spread") -> "Spread":
        """Returns the differences round by round, which a machine that slows down alters least."""
        return Spread(tuple(a - b for a, b in zip(self.runs, other.runs, strict=True)))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({min(self.runs):.4g}..{max(self.runs):.4g})"


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
