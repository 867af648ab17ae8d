"""What further checkpoints cost one edition of jaxfid: the one that `PYTHONPATH` names.

A program of its own, so that two editions can be timed in one run. It uses public names alone, which all
editions have. Prints the median seconds of a checkpoint after the first.

    cd scripts/bench && PYTHONPATH=CHECKOUT python -m lib.further_checkpoint NUM_IMAGES
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray, UInt8

from jaxfid import compare_checkpoints, compute_stats
from lib.stand_in import SIDE_PX, make_stand_in

FURTHER = 3
"""Checkpoints after the first, in whose seconds programs are compiled."""


def make_sample(path: os.PathLike[str]) -> Callable[[PRNGKeyArray, int], UInt8[Array, "n h w 3"]]:
    """Returns a sampler of noise, another one for each checkpoint."""
    seed = int(Path(path).read_text())

    def sample(key: PRNGKeyArray, n: int) -> UInt8[Array, "n h w 3"]:
        rng = np.random.default_rng([seed, *np.asarray(jax.random.key_data(key))])
        pixels = rng.integers(0, 256, (n, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        return jax.numpy.asarray(pixels)

    return sample


def write_checkpoints(folder: Path) -> None:
    """Writes the checkpoints that `make_sample` reads."""
    for step in range(FURTHER + 1):
        (folder / f"{step}.msgpack").write_text(str(step))


def make_reference(num_images: int) -> UInt8[np.ndarray, "n h w 3"]:
    """Returns the images that checkpoints are scored against."""
    shape = (num_images, SIDE_PX, SIDE_PX, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def main() -> None:
    """Compares the checkpoints and prints what one more took."""
    num_images, network = int(sys.argv[1]), make_stand_in()
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    reference = compute_stats(make_reference(num_images), extractor=network)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        write_checkpoints(Path(folder))
        entries = compare_checkpoints(
            reference,
            [folder],
            make_sample,
            out=out,
            num_images=num_images,
            extractor=network,
        )
    print(statistics.median(entry.seconds for entry in entries[1:]))


if __name__ == "__main__":
    main()
