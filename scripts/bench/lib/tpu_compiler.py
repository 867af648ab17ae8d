"""The TPU's own compiler, which needs no TPU: programs for chips that are not here, and what they cost."""

import dataclasses
import re
import time
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from jaxfid.extraction.devices import DATA_AXIS

COLLECTIVES = re.compile(
    "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program, of one chip's part where there are several.

    Attributes:
      seconds: What compiling took.
      moved_bytes: Read and written in its memory, as the compiler counts.
      temporary_bytes: Most memory beside arguments and results.
      has_float64: Whether anything in it is float64.
      collectives: Kinds of messages between chips.
    """

    seconds: float
    moved_bytes: float
    temporary_bytes: int
    has_float64: bool
    collectives: tuple[str, ...]


def make_mesh(topology: str) -> Mesh:
    """Returns the one-dimensional mesh of a pass over chips such as `v5e:4x4`."""
    described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    return Mesh(np.array(described.devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def shape_tree(tree: PyTree, mesh: Mesh, *, by_rows: bool) -> PyTree:
    """Returns the shapes of arrays that lie on the chips: a part on each, or the whole."""
    sharding = NamedSharding(mesh, P(DATA_AXIS) if by_rows else P())
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)


def compile_for(function: Callable[..., PyTree], *shapes: PyTree) -> Compiled:
    """Returns what the compiler says of a function of arrays of these shapes and places."""
    lowered = jax.jit(function).lower(*shapes)
    start = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    text = compiled.as_text()
    return Compiled(
        seconds,
        compiled.cost_analysis()["bytes accessed"],
        compiled.memory_analysis().temp_size_in_bytes,
        "f64[" in text,
        tuple(sorted(set(COLLECTIVES.findall(text)))),
    )
