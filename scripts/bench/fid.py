"""Whole runs of jaxfid against pytorch-fid as its README runs it: images per second, end to end.

Both score the same folder against the same statistics, in processes of their own that alternate: jaxfid
cold (nothing compiled yet), jaxfid warm (the compile cache holds its programs), pytorch-fid. Both are
also run on statistics alone, which has no network in it, so that start and solve can be told apart.

    .venv/bin/python scripts/bench/fid.py --peer-python PYTHON --images DIR --reference DIR --weights FILE

About 16 minutes at the defaults on two cores, of which pytorch-fid takes half.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lib.drawn import draw_pictures, write_folder
from lib.measure import alternate, make_parser
from lib.processes import Finished, jaxfid_command, run_process
from lib.report import Report, Row

PROTOCOL = "legacy_pytorch"
VALUE_TOLERANCE = 3e-4
"""Absolute, besides the relative one: so much pytorch-fid's sqrtm errs with fewer images than features."""
RELATIVE_TOLERANCE = 1e-4
GOAL = 1.5
WRAPPER = Path(__file__).parents[1] / "peers" / "pytorch_fid_score.py"


class Contest:
    """Both tools' command lines on one folder and its statistics, and the values they printed."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._weights = str(options.weights or "auto")
        self.images, self._warm_cache = folder / "generated", folder / "warm"
        self.count = _copy_flat(options.images, self.images, options.limit, seed=1)
        _copy_flat(options.reference, folder / "reference", options.limit, seed=0)
        for name in ("reference", "generated"):
            output = ("-o", self.stats(name))
            run_process(self._jaxfid("stats", folder / name, *output, cache=self._warm_cache))
        self.values: dict[str, list[float]] = {}
        self.warm()  # fills the cache with all that a whole run compiles

    def stats(self, name: str) -> Path:
        """Returns where the statistics of a folder lie."""
        return self._folder / f"{name}.npz"

    def cold(self) -> Finished:
        """Scores the images with jaxfid, nothing compiled beforehand."""
        with tempfile.TemporaryDirectory() as cache:
            return self._score_jaxfid(self.images, Path(cache), "jaxfid")

    def warm(self) -> Finished:
        """Scores the images with jaxfid, its programs in the compile cache."""
        return self._score_jaxfid(self.images, self._warm_cache, "jaxfid")

    def peer(self) -> Finished:
        """Scores the images with pytorch-fid."""
        return self._score_peer(self.images, "pytorch-fid")

    def warm_stats(self) -> Finished:
        """Scores the statistics with jaxfid."""
        return self._score_jaxfid(self.stats("generated"), self._warm_cache, "jaxfid, statistics")

    def peer_stats(self) -> Finished:
        """Scores the statistics with pytorch-fid."""
        return self._score_peer(self.stats("generated"), "pytorch-fid, statistics")

    def _jaxfid(self, *arguments: str | Path, cache: Path) -> list[str | Path]:
        choices = ("--protocol", PROTOCOL, "--weights", self._weights, "--compile-cache", cache)
        return jaxfid_command(*arguments, *choices)

    def _score_jaxfid(self, generated: Path, cache: Path, name: str) -> Finished:
        pair = (self.stats("reference"), generated)
        finished = run_process(self._jaxfid("score", *pair, "--json", "-", cache=cache))
        (scored,) = json.loads(finished.stdout)["results"]
        self.values.setdefault(name, []).append(scored["metrics"]["fid"]["value"])
        return finished

    def _score_peer(self, generated: Path, name: str) -> Finished:
        o = self._options
        arguments = (self.stats("reference"), generated, "--num-workers", "2", "--device", "cpu")
        finished = run_process([o.peer_python, WRAPPER, o.weights or "-", *arguments])
        self.values.setdefault(name, []).append(float(finished.stdout.split("FID:")[1]))
        return finished


def _copy_flat(source: Path | None, target: Path, limit: int, *, seed: int) -> int:
    """Copies images into one folder, as pytorch-fid looks into no folders below; draws them if None."""
    if source is None:
        write_folder(target, draw_pictures(limit, 32, seed=seed), "png")
        return limit
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    count = min(limit, len(files))
    target.mkdir()
    for number in range(count):
        file = files[number * len(files) // count]
        shutil.copyfile(file, target / f"{number:06d}{file.suffix.lower()}")
    return count


def _check_values(report: Report, values: dict[str, list[float]]) -> None:
    expected = values["pytorch-fid"][0]
    rows: list[Row] = [{"side": name, "FID": found[0]} for name, found in values.items()]
    report.table("Values", rows)
    limit = RELATIVE_TOLERANCE * expected + VALUE_TOLERANCE
    for name, found in values.items():
        worst = max(abs(value - expected) for value in found)
        report.check(f"{name} and pytorch-fid, absolute", worst, limit)


def _seconds(run: Callable[[], Finished]) -> Callable[[], float]:
    return lambda: run().seconds


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--peer-python", type=Path, required=True, help="a Python with pytorch-fid")
    parser.add_argument("--images", type=Path, help="folder to score (default: drawn pictures)")
    parser.add_argument("--reference", type=Path, help="folder to score against (likewise)")
    parser.add_argument("--weights", type=Path, help="default: each tool's own official copy")
    parser.add_argument("--limit", type=int, default=1000, help="images of each (%(default)s)")
    options = parser.parse_args()
    report = Report(options)
    report.add_peer(options.peer_python)
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(options, Path(folder))
        runs = {
            name: _seconds(getattr(contest, name))
            for name in ("peer", "cold", "warm", "peer_stats", "warm_stats")
        }
        found = alternate(runs, options.rounds)
    _check_values(report, contest.values)
    rows: list[Row] = []
    sides = (("pytorch-fid", "peer", "peer_stats"), ("jaxfid, cold", "cold", "warm_stats"))
    for name, whole, fixed in (*sides, ("jaxfid, warm", "warm", "warm_stats")):
        between_s = found[whole].median - found[fixed].median
        rows.append(
            {
                "side": name,
                "whole process, s": found[whole],
                "images/s": found[whole].map(lambda seconds: contest.count / seconds),
                "times pytorch-fid": round(found["peer"].median / found[whole].median, 3),
                "start and solve alone, s": found[fixed],
                "images/s without them": round(contest.count / between_s, 2)
                if between_s > 0
                else None,
            }
        )
    report.table(f"{contest.count} images against statistics, {PROTOCOL}", rows)
    for name in ("cold", "warm"):
        report.goal(f"jaxfid {name} / pytorch-fid", found["peer"].median / found[name].median, GOAL)
    report.save()


if __name__ == "__main__":
    main()
