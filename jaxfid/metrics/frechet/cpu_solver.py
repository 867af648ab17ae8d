"""LAPACK through JAX: decompositions in float64 on the CPU, whatever else a program runs on."""

from collections.abc import Callable

import jax
import numpy as np

from jaxfid.extraction.context import own_context
from jaxfid.extraction.devices import require_cpu


def run_on_cpu(function: Callable, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
    """Returns what the jitted function gives in float64 on this process's CPU, as NumPy arrays.

    The CPU whatever the default backend: LAPACK is faster there than the solvers of GPUs, and TPUs
    have no float64.
    """
    cpu = require_cpu()
    with own_context(x64=True):
        return jax.tree.map(np.asarray, function(*jax.device_put(arrays, cpu)))
