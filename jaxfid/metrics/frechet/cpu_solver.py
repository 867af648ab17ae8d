"""LAPACK through JAX: decompositions in float64 on the CPU, whatever else a program runs on."""

from collections.abc import Callable

import jax
import numpy as np

from jaxfid.errors import JaxfidError


def run_on_cpu(function: Callable, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
    """Returns what the jitted function gives in float64 on this process's CPU, as NumPy arrays.

    The CPU whatever the default backend: LAPACK is faster there than the solvers of GPUs, and TPUs
    have no float64.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise JaxfidError(
            "JAX was started without its CPU backend, which the distance needs: "
            "add cpu to JAX_PLATFORMS, as in JAX_PLATFORMS=cuda,cpu"
        ) from error
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, function(*jax.device_put(arrays, cpu)))
