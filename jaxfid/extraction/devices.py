"""Devices: one mesh, one way to map a function over it, one way to place arrays on it.

JAX's older `pmap` is since 0.8 a `jit(shard_map)` over a private one-dimensional mesh, and its own
documentation sends new code to `jax.shard_map`; so that is what stands here, once. A mapped function sees
one device's share and holds no collective: every device keeps its own sums until the end. That is faster,
and on a machine with few cores a loop of unblocked collectives over simulated devices deadlocks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxfid.errors import InputError

DATA_AXIS = "data"


def local_mesh(num_devices: int | None = None) -> Mesh:
    """Returns a one-dimensional mesh over this process's devices, the first `num_devices` or all.

    Raises:
      InputError: There are not so many devices.
    """
    devices = jax.local_devices()
    wanted = len(devices) if num_devices is None else num_devices
    if not 1 <= wanted <= len(devices):
        raise InputError(f"devices: expected 1 to {len(devices)} or all, found {wanted}")
    # `jax.make_mesh` would default to explicit axes, in which every operation must name its sharding.
    return Mesh(np.array(devices[:wanted]), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def map_over_devices(
    function: Callable[..., Any],
    mesh: Mesh,
    *,
    replicated: Sequence[bool],
    donate: Sequence[int] = (),
) -> Callable[..., Any]:
    """Returns the compiled function in which each device computes on its own rows.

    Args:
      function: Takes and returns trees of arrays, one device's rows of each.
      mesh: The devices.
      replicated: For each argument, whether every device has the whole of it.
      donate: Arguments whose memory the result may take over.
    """
    in_specs = tuple(P() if whole else P(DATA_AXIS) for whole in replicated)
    # Loops over a device's own rows make values that vary by device; there is nothing to check.
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=P(DATA_AXIS), check_vma=False
    )
    return jax.jit(mapped, donate_argnums=tuple(donate))


def put_rows(tree: Any, mesh: Mesh) -> Any:  # noqa: ANN401
    """Returns the arrays on the devices, their first axis cut into one part each."""
    return jax.device_put(tree, NamedSharding(mesh, P(DATA_AXIS)))


def put_replicated(tree: Any, mesh: Mesh) -> Any:  # noqa: ANN401
    """Returns the arrays on the devices, the whole on each."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def is_cpu(mesh: Mesh) -> bool:
    """Whether the mesh is of (real or simulated) CPU devices."""
    return mesh.devices.flat[0].platform == "cpu"


def has_float64(mesh: Mesh) -> bool:
    """Whether the devices compute in float64.

    JAX cannot be asked. Its own tests take float64 for granted on these platforms and leave it out on
    TPUs, for which XLA imitates it by pairs of float32, where it does at all.
    """
    return mesh.devices.flat[0].platform in ("cpu", "gpu", "cuda", "rocm")


def over_automatic_axes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function for arrays on meshes with explicit axes as well as with automatic ones.

    On explicit axes JAX asks of every operation where its result lies. What this function gives there
    is whole on each device.
    """

    def automatic(*args: Any) -> Any:  # noqa: ANN401
        meshes = (jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(args))
        explicit = next((m for m in meshes if AxisType.Explicit in m.axis_types), None)
        if explicit is None:
            return function(*args)
        with jax.sharding.use_abstract_mesh(explicit):
            return jax.sharding.auto_axes(function, out_sharding=P())(*args)

    return automatic


def count_sharers(rows: Any) -> int:  # noqa: ANN401
    """Returns how many devices share the rows of an array, as far as can be known.

    Inside a jitted function JAX does not say: all devices, as in a program over all of them. Inside
    `shard_map` and `pmap` what is seen is one device's share.
    """
    if isinstance(rows, jax.core.Tracer):
        return 1 if jax.sharding.get_abstract_mesh().manual_axes else jax.device_count()
    if isinstance(rows, jax.Array):
        return -(-len(rows) // rows.sharding.shard_shape(rows.shape)[0])
    return 1
