"""How images are drawn where nobody says otherwise; no JAX here, so that `--help` is fast."""

from typing import Literal

NUM_IMAGES = 50_000
"""Images of each checkpoint, as in published scores."""

CHUNK_SIZE = 100
"""Images per call of the sampler."""

SamplerPlacement = Literal["process", "device", "global"]
"""Who calls the sampler: each process, each device by itself, or all processes together."""
