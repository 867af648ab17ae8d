"""What a further checkpoint costs `jaxfid compare` beyond drawing its images and the network.

The sampler gives noise and the network is one product of 2048 features, so that little else is timed than
what is asked for. Each round compares two checkpoints in a folder of its own; the first one's time, with all
compiling in it, does not count. Beside it the same images are drawn and sent through the same network alone.

    .venv/bin/python scripts/bench/compare.py

About 5 minutes at the defaults on two cores.
"""

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from measure import Report, alternate, make_parser, time_call
from stand_in import SIDE_PX, WIDTH, make_stand_in

from jaxfid import compare_checkpoints, compute_stats
from jaxfid.checkpoints.drawing import draw_from
from jaxfid.checkpoints.find import find_checkpoints
from jaxfid.samples import Sample, open_images
from jaxfid.scorer import Scorer
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats

BLOCKS = (1, 10)
GOAL_S = 1.0
"""Of a checkpoint's distance; its error bar takes as many distances again as there are blocks."""


def make_sample(path: Path) -> Callable[[jax.Array, int], np.ndarray]:
    """Returns a sampler of noise, another one for each checkpoint."""
    seed = int(path.read_text())

    def sample(key: jax.Array, n: int) -> np.ndarray:
        rng = np.random.default_rng([seed, *np.asarray(jax.random.key_data(key))])
        return rng.integers(0, 256, (n, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)

    return sample


def time_second(
    folder: Path, reference: Stats, settings: dict, num_images: int, blocks: int
) -> float:
    """Returns the seconds that the second checkpoint takes, all included."""
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
    return entries[1].seconds


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
        for step in (1, 2):
            (folder / f"{step}.msgpack").write_text(str(step))
        second = find_checkpoints([folder])[1]

        def make_pass_alone(blocks: int) -> Callable[[], float]:
            choices = Settings(**settings, blocks=blocks)
            scorer = Scorer(open_images(reference, choices), choices, largest=count)

            def pass_alone() -> float:
                source = draw_from(second, make_sample, num_images=count)
                return time_call(lambda: scorer.pair(Sample("2", source=source)))

            pass_alone()  # compiles
            return pass_alone

        alone, whole = "drawing and network alone", "second checkpoint"
        sides: dict[tuple[int, str], Callable[[], float]] = {}
        for blocks in BLOCKS:
            sides[blocks, alone] = make_pass_alone(blocks)
            sides[blocks, whole] = functools.partial(
                time_second, folder, reference, settings, count, blocks
            )
        found = alternate(sides, options.rounds)
    beyond = {b: found[b, whole].median - found[b, alone].median for b in BLOCKS}
    rows = [
        {
            "blocks": blocks,
            f"{alone}, s": found[blocks, alone],
            f"{whole}, s": found[blocks, whole],
            "beyond, s": round(beyond[blocks], 3),
        }
        for blocks in BLOCKS
    ]
    report.table(f"{count} images, {WIDTH} features", rows)
    report.goal("seconds beyond drawing and network, 1 block", beyond[1], GOAL_S, at_most=True)
    report.save()


if __name__ == "__main__":
    main()
