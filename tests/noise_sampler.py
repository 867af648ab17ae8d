"""A user's sampler as the text of a module, for command lines of the tests to name."""

NOISE_SAMPLER = """
import jax, numpy as np

def make_sample(path):
    level = float(path.read_text())
    def sample(key, n):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return rng.random((n, 12, 12, 3), np.float32) * (2 - 2 * level) - 1
    return sample
"""
"""Noise in -1..1, the darker the larger the number in the checkpoint."""
