"""Devices: one mesh, one way to map a function over it, one way to place arrays on it.

JAX's older `pmap` has been a `jit(shard_map)` over a private one-dimensional mesh since 0.8, and its own
documentation sends new code to `jax.shard_map`. So `jax.shard_map` is used here, in one place. A mapped
function sees one device's rows and holds no collective: every device keeps its own sums until the end. That
is faster, and on a machine with few cores a loop of unblocked collectives over simulated devices deadlocks.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, PyTree, Shaped

from jaxfid.errors import InputError

DATA_AXIS = "data"


def local_mesh(num_devices: int | None = None) -> Mesh:
    """Returns a one-dimensional mesh over this process's devices, the first `num_devices` or all.

    Raises:
      InputError: JAX finds no device, or not so many.
    """
    devices = _local_devices()
    wanted = len(devices) if num_devices is None else num_devices
    if not 1 <= wanted <= len(devices):
        raise InputError(f"devices: expected 1 to {len(devices)} or all, found {wanted}")
    # `jax.make_mesh` would default to explicit axes, in which every operation must name its sharding.
    return Mesh(np.array(devices[:wanted]), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def _local_devices() -> list[jax.Device]:  # pyright: ignore[reportInvalidTypeForm]
    try:
        return jax.local_devices()
    # JAX raises an AssertionError without a message where every platform that was asked for is absent.
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"JAX finds no device: JAX_PLATFORMS is {_platforms()}, "
            f"{str(error).rstrip('.') or 'and none of them is here'}. Set it to what this machine has, as in "
            "JAX_PLATFORMS=cpu, or leave it unset"
        ) from error


def require_cpu() -> jax.Device:  # pyright: ignore[reportInvalidTypeForm]
    """Returns the CPU device of this process, on which distances are solved.

    The first look starts JAX's devices. An evaluation takes it before its first image.

    Raises:
      InputError: JAX was started without its CPU backend.
    """
    _local_devices()  # where there is none at all, that is the message to give
    try:
        return jax.local_devices(backend="cpu")[0]
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"JAX_PLATFORMS is {_platforms()}, which leaves out the CPU, on which distances are solved: add "
            "cpu at its end, as in JAX_PLATFORMS=cuda,cpu"
        ) from error


def _platforms() -> str:
    return jax.config.jax_platforms or "unset"  # pyright: ignore[reportAttributeAccessIssue]


def map_over_devices(
    function: Callable[..., PyTree],
    mesh: Mesh,
    *,
    replicated: Sequence[bool],
    donate: Sequence[int] = (),
) -> Callable[..., PyTree]:
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


def put_rows(tree: PyTree, mesh: Mesh) -> PyTree:
    """Returns the arrays on the devices, their first axis cut into one part each."""
    return jax.device_put(tree, NamedSharding(mesh, P(DATA_AXIS)))


def put_replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Returns the arrays on the devices, the whole on each."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def own_rows(
    array: Shaped[Array | np.ndarray, "n ..."],
) -> tuple[Shaped[np.ndarray, "m ..."], Int[np.ndarray, " m"]]:
    """Returns the rows that this process has of an array, on the host, and their places in the whole.

    Of an array that is laid over several processes every row is given on one of them, also where several
    hold it. All of them call.
    """
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array), np.arange(len(array))
    shards = [s for s in _with_whole_rows(array).addressable_shards if s.replica_id == 0]
    shards.sort(key=lambda shard: shard.index[0].start or 0)
    places = [np.arange(len(array))[shard.index[0]] for shard in shards]
    rows = [np.asarray(shard.data) for shard in shards]
    none = np.zeros((0, *array.shape[1:]), array.dtype)
    return np.concatenate([none, *rows]), np.concatenate([np.arange(0), *places])


def _with_whole_rows(array: Array) -> Array:
    """Returns the array laid out so that no row is divided."""
    if array.sharding.shard_shape(array.shape)[1:] == array.shape[1:]:
        return array
    sharding = array.sharding
    assert isinstance(sharding, NamedSharding)  # nothing else divides an array so
    return jax.device_put(array, NamedSharding(sharding.mesh, P(*sharding.spec[:1])))


def is_cpu(mesh: Mesh) -> bool:
    """Whether the mesh is of (real or simulated) CPU devices."""
    return mesh.devices.flat[0].platform == "cpu"


def has_float64(mesh: Mesh) -> bool:
    """Whether the devices compute in float64.

    JAX cannot be asked. Its own tests take float64 for granted on these platforms and leave it out on
    TPUs, for which XLA imitates it by pairs of float32, where it does at all.
    """
    return mesh.devices.flat[0].platform in ("cpu", "gpu", "cuda", "rocm")


def over_automatic_axes(
    function: Callable[..., PyTree], *, axes: Sequence[str] = ()
) -> Callable[..., PyTree]:
    """Returns the function for arrays on meshes with explicit axes as well as with automatic ones.

    On explicit axes JAX asks of every operation where its result lies.

    Args:
      function: Takes and returns trees of arrays.
      axes: The explicit axes that the rows of the result are divided over; without them it is whole on
        each device.
    """

    def automatic(*args: PyTree) -> PyTree:
        meshes = (jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(args))
        explicit = next((m for m in meshes if AxisType.Explicit in m.axis_types), None)
        if explicit is None:
            return function(*args)
        with jax.sharding.use_abstract_mesh(explicit):
            spec = P(tuple(axes)) if axes else P()
            return jax.sharding.auto_axes(function, out_sharding=spec)(*args)

    return automatic


class Division(NamedTuple):
    """How the rows of an array are divided over devices.

    Attributes:
      num_devices: How many devices share them: the most there may be, where it is not known.
      axes: The explicit axes of a mesh that they are divided over.
      is_known: Whether JAX says so. It does not inside a jitted function with automatic axes.
    """

    num_devices: int
    axes: tuple[str, ...] = ()
    is_known: bool = True


def find_division(rows: Shaped[Array | np.ndarray, "n ..."]) -> Division:
    """Returns how the rows of an array are divided over devices, as far as can be known.

    Inside `shard_map` and `pmap` one device's rows are all that is seen.
    """
    if isinstance(rows, np.ndarray):
        return Division(1)
    if axes := _explicit_axes(rows):
        shape = jax.typeof(rows).sharding.mesh.shape
        return Division(math.prod(shape[axis] for axis in axes), axes)
    if not isinstance(rows, Tracer):
        return Division(-(-len(rows) // rows.sharding.shard_shape(rows.shape)[0]))
    if jax.sharding.get_abstract_mesh().manual_axes:
        return Division(1)
    return Division(jax.device_count(), is_known=False)


def _explicit_axes(rows: Array) -> tuple[str, ...]:
    """Returns the explicit axes that the rows are divided over."""
    sharding = jax.typeof(rows).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types or not sharding.spec:
        return ()
    first = sharding.spec[0]
    return first if isinstance(first, tuple) else () if first is None else (first,)
