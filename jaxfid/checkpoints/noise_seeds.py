"""Each checkpoint drawn several times, from noise of its own each time."""

import dataclasses
from collections.abc import Sequence

from jaxfid.checkpoints.find import Checkpoint
from jaxfid.errors import InputError
from jaxfid.report.entries import name_draw


def check_noise_seeds(noise_seeds: Sequence[int]) -> tuple[int, ...]:
    """Returns the seeds.

    Raises:
      InputError: There is none, one is below 0 or one is given twice.
    """
    seeds = tuple(noise_seeds)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(
            f"noise_seeds: expected different whole numbers from 0 on, found {list(seeds)}"
        )
    return seeds


def repeat_with_seeds(found: Sequence[Checkpoint], noise_seeds: Sequence[int]) -> list[Checkpoint]:
    """Returns each checkpoint once for each seed, under a name of its own; all seeds of one in a row.

    So a row is finished, kept and resumed by itself, and more seeds may be added later.
    """
    return [
        dataclasses.replace(c, name=name_draw(c.name, seed), noise_seed=seed)
        for c in found
        for seed in noise_seeds
    ]
