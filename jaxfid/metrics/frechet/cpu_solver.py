"""LAPACK through JAX: decompositions in float64 on the CPU, whatever else a program runs on."""

from collections.abc import Callable

import jax
import numpy as np

from jaxfid.context import own_context
from jaxfid.extraction.devices import require_cpu


def run_on_cpu(
    function: Callable[..., tuple[jax.Array, ...]], *arrays: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Returns what the jitted function gives in float64 on this process's CPU, as NumPy arrays.

    It runs on the CPU whatever the default backend is: LAPACK is faster there than the solvers of
    GPUs, and TPUs have no float64. The caller's context does not matter: not its mesh, its default
    device, its transfer guard, or whether x64 is enabled.

    Args:
      function: A jitted function of arrays.
      *arrays: Its arguments, in float64.

    Raises:
      JaxfidError: JAX runs without its CPU backend.
    """
    cpu = require_cpu()
    with own_context(x64=True):
        return jax.tree.map(np.asarray, function(*jax.device_put(arrays, cpu)))
