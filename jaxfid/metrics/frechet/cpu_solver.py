"""LAPACK through JAX: decompositions in float64 on the CPU, whatever else a program runs on."""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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
    mesh = _cpu_mesh()
    # A caller's mesh of several devices would refuse arrays that lie on one. A transfer guard would
    # refuse the copies to and from the host, which are the point of this function.
    with jax.enable_x64(True), jax.set_mesh(mesh), jax.transfer_guard("allow"):
        arrays = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))
        return jax.tree.map(np.asarray, function(*arrays))


def _cpu_mesh() -> Mesh:
    """Returns the mesh of one CPU device of this process."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise JaxfidError(
            "JAX was started without its CPU backend, which the distance needs: "
            "add cpu to JAX_PLATFORMS, as in JAX_PLATFORMS=cuda,cpu"
        ) from error
    return Mesh(np.array([cpu]), ("cpu",))
