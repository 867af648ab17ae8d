"""What an `Evaluator` keeps of the images so far: a pytree that adds, merges and is saved as it is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from jaxfid.context import own_context
from jaxfid.errors import InputError
from jaxfid.extraction.devices import over_automatic_axes
from jaxfid.extraction.serialization import register_with_flax
from jaxfid.stats.array_tree import array_tree
from jaxfid.stats.integer_moments import IntegerMoments
from jaxfid.stats.kept_rows import KeptRows
from jaxfid.stats.moments import Moments


@array_tree
@dataclasses.dataclass(frozen=True)
class EvaluatorState:
    """Sums of features, and some features: for error bars, and for metrics of single images.

    `a + b` is the images of both. Leaves may carry leading axes (devices), which `total` merges.

    Attributes:
      moments: Float64 sums, or whole numbers where sums are kept so.
      rows: A fixed number of rows of features, chosen by their content.
      parts: 1, unless states were added as numbers (by `psum`): sums of rows mean nothing.
      merged: 1 where the images of all processes are in it, put together by `merge`; else 0.
    """

    moments: Moments | IntegerMoments
    rows: KeptRows
    parts: Int32[Array | np.ndarray, "*lead"]
    merged: Int32[Array | np.ndarray, "*lead"]

    @own_context(x64=None)
    def __add__(self, other: "EvaluatorState") -> "EvaluatorState":
        require_float64(self)
        require_float64(other)
        return EvaluatorState(
            self.moments + other.moments,  # pyright: ignore[reportOperatorIssue]  # of one kind
            self.rows + other.rows,
            jnp.maximum(self.parts, other.parts),
            jnp.maximum(self.merged, other.merged),
        )

    @own_context(x64=None)
    def total_over(self, axis: int = 0) -> "EvaluatorState":
        """Returns the state of all images, with one leading axis merged."""
        return EvaluatorState(
            self.moments.total_over(axis),
            self.rows.total_over(axis),
            jnp.max(self.parts, axis),
            jnp.max(self.merged, axis),
        )

    def read_moments(self) -> Moments:
        """Returns the sums in float64, on the host; leading axes are to be merged before.

        Raises:
          InputError: Features were beyond what whole numbers can take.
        """
        return (
            self.moments.to_moments() if isinstance(self.moments, IntegerMoments) else self.moments
        )

    def total(self) -> "EvaluatorState":
        """Returns the state with every leading axis merged, on the host.

        Raises:
          InputError: Its sums are not float64.
        """
        require_float64(self)
        on_devices = all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(self))
        with own_context(x64=True):
            total = _total_on_devices(self) if on_devices else merge_leading_axes(self)
            return jax.device_get(total)  # explicit, which a transfer guard lets pass


def merge_leading_axes(state: EvaluatorState) -> EvaluatorState:
    """Returns the state with every leading axis merged."""
    while np.ndim(state.moments.count):
        state = state.total_over(0)
    return state


_total_on_devices = jax.jit(over_automatic_axes(merge_leading_axes))


def require_float64(state: EvaluatorState) -> None:
    """Checks that no digits of the sums were lost.

    Raises:
      InputError: They were, of float64 sums: JAX makes float32 of float64 wherever x64 is not enabled.
    """
    if not isinstance(state, EvaluatorState):
        raise InputError(f"state: expected one of an evaluator, found {type(state).__name__}")
    dtypes = {np.dtype(leaf.dtype) for leaf in jax.tree.leaves(state.moments)}
    if isinstance(state.moments, IntegerMoments):
        if any(np.issubdtype(dtype, np.floating) for dtype in dtypes):
            raise InputError(
                "state: expected sums in whole numbers, found floating ones: digits were lost"
            )
        return
    found = dtypes - {np.dtype(np.float64)}
    if found:
        raise InputError(
            f"state: expected sums in float64, found {', '.join(map(str, found))}: digits were lost on the "
            "way. Keep a state by evaluator.save and evaluator.load, restore it inside jax.enable_x64(True), "
            "and give NumPy arrays to a compiled function as evaluator.init() + state"
        )


for _part in (Moments, IntegerMoments, KeptRows, EvaluatorState):
    register_with_flax(_part)


def all_gather_state(state: EvaluatorState, axis_name: str) -> EvaluatorState:
    """Returns the state of all devices of a mapped axis, the same on each; for `shard_map` and `pmap`.

    Args:
      state: This device's.
      axis_name: The axis.
    """
    rows, merged = jax.tree.map(
        lambda leaf: _stack_over(leaf, axis_name), (state.rows, state.merged)
    )
    moments = state.moments
    with jax.enable_x64(True):
        return EvaluatorState(
            moments.psum(axis_name)
            if isinstance(moments, IntegerMoments)
            else jax.lax.psum(moments, axis_name),
            rows.total_over(0),
            jnp.ones_like(state.parts),
            merged.max(0),
        )


def _stack_over(leaf: Array, axis_name: str) -> Array:
    """Returns every device's leaf, stacked. JAX knows a sum with zeros to be equal on all devices."""
    places = jnp.arange(jax.lax.psum(1, axis_name)) == jax.lax.axis_index(axis_name)
    mine = jnp.where(places.reshape(-1, *[1] * leaf.ndim), leaf[None], jnp.zeros((), leaf.dtype))
    return jax.lax.psum(mine, axis_name)
