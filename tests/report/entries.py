"""Entries of a comparison, made up."""

import numpy as np

from jaxfid.report.entries import Entry, Picture
from jaxfid.result import MetricValue, SetResult

NUM_IMAGES = 400


def make_entry(
    step,
    fid,
    *,
    stderr=0.05,
    seed=None,
    name=None,
    pictures=(),
    run=None,
    noise_seed=None,
    swept=None,
    **metrics,
):
    """A checkpoint whose FID has this standard error; sets of one seed share their noise."""
    noise = np.random.default_rng(step if seed is None else seed).normal(size=NUM_IMAGES)
    influence = noise / noise.std(ddof=1) * stderr * np.sqrt(NUM_IMAGES)
    influence = influence.astype(np.float32).astype(np.float64)  # as files keep it
    scores = {"fid": MetricValue(fid, stderr=stderr, influence=influence)}
    scores |= {key: MetricValue(value) for key, value in metrics.items()}
    name = name or f"step{step}"
    warnings = ["these values are no FIDs"]
    return Entry(
        name, step, f"stamp {step}", 1.5, SetResult(name, NUM_IMAGES, scores, (), warnings), None,
        {kind: [Picture(**p) for p in found] for kind, found in dict(pictures).items()}, run, noise_seed,
        swept or {},
    )  # fmt: skip


def make_failure(step):
    return Entry(f"step{step}", step, "stamp", 0.5, failure="NaN among images 0 to 7")
