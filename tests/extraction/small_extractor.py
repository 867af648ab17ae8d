"""A small nonlinear network over 299-pixel images, for tests that need no Inception."""

import jax.numpy as jnp
import numpy as np

from jaxfid.extractors.interface import Extractor
from jaxfid.preprocessing.protocol import LEGACY_TENSORFLOW

WIDTH = 6


def make_extractor(traces: list | None = None) -> Extractor:
    """The network; `traces` gets the shape of its input each time it is traced."""
    rng = np.random.default_rng(1)
    params = rng.standard_normal((3 * 13 * 13, WIDTH)).astype(np.float32)

    def apply(params, images):
        if traces is not None:
            traces.append(images.shape)
        small = images[:, ::23, ::23].reshape(len(images), -1)
        return {"small": jnp.tanh(jnp.matmul(small, params, precision="highest") / 10)}

    return Extractor("small", LEGACY_TENSORFLOW, {"small": WIDTH}, params, apply)
