"""Entries of a comparison, made up."""

import numpy as np

from jaxfid.report.run_folder import Entry, Picture
from jaxfid.result import Metric, SetResult


def make_entry(step, fid, *, spread=0.05, seed=None, name=None, pictures=(), **metrics):
    """A checkpoint whose FID has ten rests about its value; equal seeds move them together."""
    noise = np.random.default_rng(step if seed is None else seed).normal(0, spread, 10)
    rests = tuple((fid + noise - noise.mean()).tolist())
    stderr = float(np.sqrt(0.9 * np.square(noise - noise.mean()).sum()))
    scores = {"fid": Metric(fid, stderr=stderr, rests=rests)}
    scores |= {key: Metric(value) for key, value in metrics.items()}
    name = name or f"step{step}"
    warnings = ["these values are no FIDs"]
    return Entry(
        name, step, f"stamp {step}", 1.5, SetResult(name, 400, scores, (), warnings), None,
        {kind: [Picture(**p) for p in found] for kind, found in dict(pictures).items()},
    )  # fmt: skip


def make_failure(step):
    return Entry(f"step{step}", step, "stamp", 0.5, failure="NaN among images 0 to 7")
