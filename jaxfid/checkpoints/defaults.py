"""What is drawn from a checkpoint where nobody says otherwise; here, so that `--help` can say it at once."""

NUM_IMAGES = 50_000
"""Images of each checkpoint, as published scores have."""

CHUNK_SIZE = 100
"""Images per call of the sampler."""
