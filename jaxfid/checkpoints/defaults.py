"""How images are drawn where nobody says otherwise; a file without imports, so that `--help` is fast."""

NUM_IMAGES = 50_000
"""Images of each checkpoint, as in published scores."""

CHUNK_SIZE = 100
"""Images per call of the sampler."""
