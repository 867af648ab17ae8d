"""What a further checkpoint costs `jaxfid compare` beyond drawing its images and the network.

The sampler gives noise and the network is one product of 2048 features, so that little else is timed than
what is asked for. Each round compares four checkpoints in a folder of its own; the first one's time, with all
compiling in it, does not count, of the others the median does. Beside it the same images are drawn and sent
through the same network alone, as often. What lies beyond that is told round by round.

    .venv/bin/python scripts/bench/compare.py

About 12 minutes at the defaults on two cores.
"""

import functools
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from measure import Report, Spread, alternate, make_parser, time_call
from stand_in import SIDE_PX, WIDTH, make_stand_in

from jaxfid import compare_checkpoints, compute_stats
from jaxfid.checkpoints.find import Checkpoint, find_checkpoints
from jaxfid.checkpoints.sampling import draw_from
from jaxfid.samples import Sample, open_images
from jaxfid.scorer import Scorer
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats

BLOCKS = (1, 10)
FURTHER = 3
"""Checkpoints after the first in each round."""
GOAL_S = 1.0
"""Of a checkpoint's distance; its error bar takes as many distances again as there are blocks."""


def make_sample(path: Path) -> Callable[[jax.Array, int], np.ndarray]:
    """Returns a sampler of noise, another one for each checkpoint."""
    seed = int(path.read_text())

    def sample(key: jax.Array, n: int) -> np.ndarray:
        rng = np.random.default_rng([seed, *np.asarray(jax.random.key_data(key))])
        return rng.integers(0, 256, (n, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)

    return sample


def time_further(
    folder: Path, reference: Stats, settings: dict, num_images: int, blocks: int
) -> float:
    """Returns the seconds that a further checkpoint takes, all included."""
    with tempfile.TemporaryDirectory() as out:
        entries = compare_checkpoints(
            reference,
            [folder],
            make_sample,
            out=out,
            num_images=num_images,
            blocks=blocks,
            **settings,
        )
    return statistics.median(entry.seconds for entry in entries[1:])


def main() -> None:
    """Measures and reports."""
    parser = make_parser(__doc__)
    parser.add_argument("--num-images", type=int, default=2400)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    report = Report(options)
    count = options.num_images
    settings = {"extractor": make_stand_in()}
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    reference = compute_stats(images, **settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in range(FURTHER + 1):
            (folder / f"{step}.msgpack").write_text(str(step))
        further = find_checkpoints([folder])[1:]

        def make_pass_alone(blocks: int) -> Callable[[], float]:
            choices = Settings(**settings, blocks=blocks)
            scorer = Scorer(open_images(reference, choices), choices, largest=count)

            def pass_alone(checkpoint: Checkpoint) -> float:
                source = draw_from(checkpoint, make_sample, num_images=count)
                sample = Sample(checkpoint.name, source=source)
                return time_call(lambda: scorer.pair(sample))

            pass_alone(further[0])  # compiles
            return lambda: statistics.median(map(pass_alone, further))

        alone, whole = "drawing and network alone", "further checkpoint"
        sides: dict[tuple[int, str], Callable[[], float]] = {}
        for blocks in BLOCKS:
            sides[blocks, alone] = make_pass_alone(blocks)
            sides[blocks, whole] = functools.partial(
                time_further, folder, reference, settings, count, blocks
            )
        found = alternate(sides, options.rounds)
    beyond = {
        b: Spread(
            tuple(w - a for w, a in zip(found[b, whole].runs, found[b, alone].runs, strict=True))
        )
        for b in BLOCKS
    }
    rows = [
        {
            "blocks": blocks,
            f"{alone}, s": found[blocks, alone],
            f"{whole}, s": found[blocks, whole],
            "beyond, s": beyond[blocks],
        }
        for blocks in BLOCKS
    ]
    report.table(f"{count} images, {WIDTH} features", rows)
    name = "seconds beyond drawing and network, 1 block"
    report.goal(name, beyond[1].median, GOAL_S, at_most=True)
    report.save()


if __name__ == "__main__":
    main()
