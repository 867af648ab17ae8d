"""What a further checkpoint costs `jaxfid compare` beyond drawing its images and the network.

The sampler gives noise and the network is one product of 2048 features, so that little else is timed than
what is asked for. Each round compares four checkpoints in a folder of its own. The first one's time does not
count, because programs are compiled in it; of the others the median does. Beside it the same images are drawn
and sent through the same network, alone. The rest, `beyond`, is the distance with its error bar, the rows
that are kept for that, and the files of the run.

    .venv/bin/python scripts/bench/compare.py

About 6 minutes at the defaults on two cores.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lib.further_checkpoint import make_reference, make_sample, write_checkpoints
from lib.measure import Spread, alternate, make_parser, time_call
from lib.pipeline import Pipeline, start_jax
from lib.processes import run_process
from lib.report import Report
from lib.stand_in import WIDTH, make_stand_in

from jaxfid import compare_checkpoints, compute_stats
from jaxfid.checkpoints.find import Checkpoint, find_checkpoints
from jaxfid.checkpoints.sampling import draw_from
from jaxfid.extraction.image_set import ExtractedSet, ImageSet
from jaxfid.images.interface import ImageSource
from jaxfid.scoring.evaluation import Evaluation
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats

GOAL_S = 3.0

BENCH = Path(__file__).resolve().parent
EARLIER, NOW = "earlier", "now"
ALONE, SCORE, WHOLE = "drawing and network alone", "distance and error bar", "further checkpoint"


class Sides:
    """A further checkpoint and its parts, of the same images and the same network."""

    def __init__(self, folder: Path, num_images: int) -> None:
        self._folder, self._num_images = folder, num_images
        self._network = make_stand_in()
        write_checkpoints(folder)
        self._further = find_checkpoints([folder])[1:]
        self._reference = self._make_reference()
        self._pipeline = Pipeline(self._network, largest=num_images, num_workers=None)

    def _make_reference(self) -> Stats:
        return compute_stats(make_reference(self._num_images), extractor=self._network)

    def all(self) -> dict[str, Callable[[], float]]:
        """Returns what times each side, compiled already."""
        self._pass_alone(self._further[0])
        return {
            ALONE: lambda: statistics.median(map(self._pass_alone, self._further)),
            SCORE: self._make_score(),
            WHOLE: self._further_checkpoint,
        }

    def _draw(self, checkpoint: Checkpoint) -> ImageSource:
        return draw_from(checkpoint, make_sample, num_images=self._num_images)

    def _pass_alone(self, checkpoint: Checkpoint) -> float:
        source = self._draw(checkpoint)
        return time_call(lambda: self._pipeline.stats(source))

    def _make_score(self) -> Callable[[], float]:
        evaluation = Evaluation(Settings(extractor=self._network), largest=self._num_images)
        reference = evaluation.extract_reference(ImageSet("reference", stats=self._reference))
        seen = [
            evaluation.extract_generated(ImageSet(c.name, self._draw(c))) for c in self._further
        ]

        def score(generated: ExtractedSet) -> float:
            return time_call(lambda: evaluation.score(reference, generated))

        score(seen[0])
        return lambda: statistics.median(map(score, seen))

    def _further_checkpoint(self) -> float:
        with tempfile.TemporaryDirectory() as out:
            entries = compare_checkpoints(
                self._reference,
                [self._folder],
                make_sample,
                out=out,
                num_images=self._num_images,
                extractor=self._network,
            )
        return statistics.median(entry.seconds for entry in entries[1:])


def time_editions(earlier: Path, num_images: int, rounds: int) -> dict[str, Spread]:
    """Returns the seconds of a further checkpoint by two editions, as processes that alternate."""

    def time_edition(checkout: Path) -> float:
        # The program lies in this checkout; only the package is that of the edition, for which -P keeps
        # the current folder out.
        command = ["env", f"PYTHONPATH={checkout.resolve()}:{BENCH}", sys.executable, "-P"]
        command += ["-m", "lib.further_checkpoint", str(num_images)]
        return float(run_process(command).stdout)

    sides = {EARLIER: lambda: time_edition(earlier), NOW: lambda: time_edition(BENCH.parents[1])}
    return alternate(sides, rounds)


def main() -> None:
    """Measures and reports."""
    parser = make_parser(__doc__)
    parser.add_argument("--num-images", type=int, default=2400)
    parser.add_argument("--earlier", type=Path, metavar="CHECKOUT", help="an earlier jaxfid")
    options = parser.parse_args()
    start_jax()
    report = Report(options)
    with tempfile.TemporaryDirectory() as folder:
        found = alternate(Sides(Path(folder), options.num_images).all(), options.rounds)
    beyond = found[WHOLE] - found[ALONE]
    row = {**{f"{name}, s": spread for name, spread in found.items()}, "beyond, s": beyond}
    report.table(f"{options.num_images} images, {WIDTH} features", [row])
    if options.earlier is not None:
        editions = time_editions(options.earlier, options.num_images, options.rounds)
        ratio = editions[EARLIER].median / editions[NOW].median
        row = {f"{name}, s": spread for name, spread in editions.items()}
        report.table("A further checkpoint by each edition", [row | {"earlier / now": ratio}])
    report.goal("seconds beyond drawing and network", beyond.median, GOAL_S, at_most=True)
    report.save()


if __name__ == "__main__":
    main()
