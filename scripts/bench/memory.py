"""Peak memory of scoring 1,000 and 10,000 images: it must not grow with their number.

Each run is a process of its own, `jaxfid score STATS IMAGES --limit N`, and the figure is the most memory
that was resident in it.

    .venv/bin/python scripts/bench/memory.py --images ARCHIVE.zip --weights FILE

About 6 minutes at the defaults on two cores: they stop the network at its first 64 features, which changes
no buffer that could grow. The whole network, once: `--dims 2048 --rounds 1`, 12 minutes.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

from lib.drawn import draw_pictures, write_zip
from lib.measure import alternate, make_parser
from lib.processes import Finished, jaxfid_command, run_process
from lib.report import Report

FLAT = 1.10
MIB = 2**20


class Runs:
    """Scores of growing numbers of images against one file of statistics."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._folder, self._weights, self._dims = folder, options.weights, str(options.dims)
        most = max(options.counts)
        self._images = options.images or write_zip(
            folder / "drawn.zip", draw_pictures(most, 32, seed=0), "png"
        )
        self._stats = folder / "reference.npz"
        self._run("stats", self._images, "-o", self._stats, "--limit", "64", "--seed", "1")
        self.scored: dict[int, int] = {}
        self.seconds: dict[int, float] = {}

    def _run(self, *arguments: str | Path) -> Finished:
        choices = ("--weights", self._weights, "--dims", self._dims)
        cache = ("--compile-cache", self._folder / "compiled")
        return run_process(jaxfid_command(*arguments, *choices, *cache))

    def peak_mib(self, count: int) -> float:
        """Scores so many images in a process of its own and returns its peak memory in MiB."""
        limit = ("--limit", str(count))
        finished = self._run("score", self._stats, self._images, *limit, "--json", "-")
        (scored,) = json.loads(finished.stdout)["results"]
        if not math.isfinite(scored["metrics"]["fid"]["value"]):
            raise SystemExit(f"{count} images: the score is not finite")
        self.scored[count], self.seconds[count] = scored["num_images"], finished.seconds
        return finished.peak_bytes / MIB


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=Path, help="at least the largest count (default: drawn)")
    parser.add_argument("--weights", default="untrained", help="%(default)s; memory is the same")
    parser.add_argument("--dims", type=int, default=64, help="64, 192, 768 or 2048 (%(default)s)")
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000])
    options = parser.parse_args()
    report = Report(options)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(options, Path(folder))
        sides = {str(n): lambda n=n: runs.peak_mib(n) for n in options.counts}
        found = alternate(sides, options.rounds)
    missing = sum(count - scored for count, scored in runs.scored.items())
    report.check("images asked for and not scored", missing, 0)
    first = found[str(options.counts[0])].median
    rows = [
        {
            "images": count,
            "peak memory, MiB": found[str(count)],
            "times the first": round(found[str(count)].median / first, 4),
            "last run, s": round(runs.seconds[count], 1),
        }
        for count in options.counts
    ]
    report.table(f"Whole processes, dims {options.dims}, weights {options.weights}", rows)
    growth = max(found[str(count)].median for count in options.counts) / first
    report.goal("most memory / that of the first", growth, FLAT, at_most=True)
    report.save()


if __name__ == "__main__":
    main()
