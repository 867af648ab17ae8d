"""Images in batches, an evaluator for them, and the value that every adapter has to give."""

import functools

import numpy as np

from jaxfid.evaluate import compute_metrics
from jaxfid.evaluator import Evaluator
from tests.tiny import TINY

BATCH = 8
REAL, GENERATED = np.random.default_rng(0).integers(0, 256, (2, 3 * BATCH, 8, 8, 3), np.uint8)
# The last batch is half padding.
MASKS = np.arange(3 * BATCH).reshape(3, BATCH) < 2.5 * BATCH
BATCHES = list(zip(GENERATED.reshape(3, BATCH, 8, 8, 3), MASKS, strict=True))


@functools.cache
def evaluator() -> Evaluator:
    return Evaluator(REAL, num_rows=len(GENERATED), extractor=TINY)


@functools.cache
def expected() -> float:
    (scored,) = compute_metrics(REAL, [GENERATED[MASKS.ravel()]], extractor=TINY).results
    value = scored.metrics["fd_tiny"].value
    assert value is not None
    return value
