"""LAPACK through JAX: decompositions in float64 on the CPU, whatever else a program runs on."""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfid.errors import JaxfidError


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
    cpu = _first_cpu()
    # A caller's mesh of several devices would refuse arrays that lie on one. A transfer guard would
    # refuse the copies to and from the host, which are the point of this function.
    mesh = Mesh(np.array([cpu]), ("cpu",))
    with jax.enable_x64(True), jax.set_mesh(mesh), jax.transfer_guard("allow"):
        return jax.tree.map(np.asarray, function(*jax.device_put(arrays, cpu)))


def _first_cpu() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise JaxfidError(
            "JAX was started without its CPU backend, which the distance needs: "
            "add cpu to JAX_PLATFORMS, as in JAX_PLATFORMS=cuda,cpu"
        ) from error
