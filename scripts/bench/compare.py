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
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, PRNGKeyArray, UInt8
from lib.measure import alternate, make_parser, time_call
from lib.pipeline import Pipeline, start_jax
from lib.report import Report
from lib.stand_in import SIDE_PX, WIDTH, make_stand_in

from jaxfid import compare_checkpoints, compute_stats
from jaxfid.checkpoints.find import Checkpoint, find_checkpoints
from jaxfid.checkpoints.sampling import Sample, draw_from
from jaxfid.extraction.image_set import ExtractedSet, ImageSet
from jaxfid.images.interface import ImageSource
from jaxfid.scoring.evaluation import Evaluation
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats

FURTHER = 3
"""Checkpoints after the first in each round."""
GOAL_S = 3.0

ALONE, SCORE, WHOLE = "drawing and network alone", "distance and error bar", "further checkpoint"


def make_sample(path: epath.Path) -> Sample:
    """Returns a sampler of noise, another one for each checkpoint."""
    seed = int(path.read_text())

    def sample(key: PRNGKeyArray, n: int) -> UInt8[Array, "n h w 3"]:
        rng = np.random.default_rng([seed, *np.asarray(jax.random.key_data(key))])
        return jnp.asarray(rng.integers(0, 256, (n, SIDE_PX, SIDE_PX, 3), dtype=np.uint8))

    return sample


class Sides:
    """A further checkpoint and its parts, of the same images and the same network."""

    def __init__(self, folder: Path, num_images: int) -> None:
        self._folder, self._num_images = folder, num_images
        self._network = make_stand_in()
        for step in range(FURTHER + 1):
            (folder / f"{step}.msgpack").write_text(str(step))
        self._further = find_checkpoints([folder])[1:]
        self._reference = self._make_reference()
        self._pipeline = Pipeline(self._network, largest=num_images, num_workers=None)

    def _make_reference(self) -> Stats:
        shape = (self._num_images, SIDE_PX, SIDE_PX, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return compute_stats(images, extractor=self._network)

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


def main() -> None:
    """Measures and reports."""
    parser = make_parser(__doc__)
    parser.add_argument("--num-images", type=int, default=2400)
    options = parser.parse_args()
    start_jax()
    report = Report(options)
    with tempfile.TemporaryDirectory() as folder:
        found = alternate(Sides(Path(folder), options.num_images).all(), options.rounds)
    beyond = found[WHOLE] - found[ALONE]
    row = {**{f"{name}, s": spread for name, spread in found.items()}, "beyond, s": beyond}
    report.table(f"{options.num_images} images, {WIDTH} features", [row])
    report.goal("seconds beyond drawing and network", beyond.median, GOAL_S, at_most=True)
    report.save()


if __name__ == "__main__":
    main()
