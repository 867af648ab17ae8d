"""What an `Evaluator` keeps of images that a JAX program has made, for use inside that program."""

import dataclasses
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32, Shaped

from jaxfid.context import own_context
from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import Sums, keeps_sums_on_host
from jaxfid.extraction.array_features import ArrayFeatures
from jaxfid.extraction.devices import local_mesh, over_automatic_axes
from jaxfid.extraction.serialization import register_with_flax
from jaxfid.extractors.interface import Extractor
from jaxfid.preprocessing.value_range import ValueRange
from jaxfid.stats.array_tree import array_tree
from jaxfid.stats.kept_rows import MAX_KEPT_ROWS, KeptRows
from jaxfid.stats.moments import Moments, moments_of, zero_moments

Images = Shaped[Array | np.ndarray, "..."]
"""Images `(n, h, w, 3)`, uint8 or floating; anything else is refused with a message."""


@array_tree
@dataclasses.dataclass(frozen=True)
class EvaluatorState:
    """What is kept of the images so far: sums of features, and some features for the error bar.

    `a + b` is the images of both. Leaves may carry leading axes (devices), which `total_over` merges.

    Attributes:
      moments: Float64 sums.
      rows: Up to `MAX_KEPT_ROWS` rows of features, chosen by their content.
      parts: 1, unless states were added as numbers (by `psum`): sums of rows mean nothing.
    """

    moments: Moments
    rows: KeptRows
    parts: Int32[Array | np.ndarray, "*lead"]

    @own_context(x64=None)
    def __add__(self, other: "EvaluatorState") -> "EvaluatorState":
        return EvaluatorState(
            self.moments + other.moments,
            self.rows + other.rows,
            jnp.maximum(self.parts, other.parts),
        )

    @own_context(x64=None)
    def total_over(self, axis: int = 0) -> "EvaluatorState":
        """Returns the state of all images, with one leading axis merged."""
        return EvaluatorState(
            self.moments.total_over(axis), self.rows.total_over(axis), jnp.max(self.parts, axis)
        )

    def total(self) -> "EvaluatorState":
        """Returns the state with every leading axis merged, on the host."""
        state = self
        while np.ndim(state.moments.count):
            state = state.total_over(0)
        return jax.device_get(state)  # explicit, which a transfer guard lets pass


for _part in (Moments, KeptRows, EvaluatorState):
    register_with_flax(_part)


def all_gather_state(state: EvaluatorState, axis_name: str) -> EvaluatorState:
    """Returns the state of all devices of a mapped axis, the same on each; for `shard_map` and `pmap`.

    Args:
      state: This device's.
      axis_name: The axis.
    """
    rows = jax.tree.map(lambda leaf: _stack_over(leaf, axis_name), state.rows).total_over(0)
    with jax.enable_x64(True):
        return EvaluatorState(
            jax.lax.psum(state.moments, axis_name), rows, jnp.ones_like(state.parts)
        )


def _stack_over(leaf: Array, axis_name: str) -> Array:
    """Returns every device's leaf, stacked. JAX knows a sum with zeros to be equal on all devices."""
    places = jnp.arange(jax.lax.psum(1, axis_name)) == jax.lax.axis_index(axis_name)
    mine = jnp.where(places.reshape(-1, *[1] * leaf.ndim), leaf[None], jnp.zeros((), leaf.dtype))
    return jax.lax.psum(mine, axis_name)


@array_tree
@dataclasses.dataclass(frozen=True)
class OnDevice:
    """What turns images into a state: a pytree of the network's weights.

    The state is the caller's: on the devices, or as NumPy arrays where the devices have no float64. Every
    function but those that keep sums on the host may be used inside `jit`, `scan`, `shard_map` and `pmap`,
    with x64 or without.

    Attributes:
      params: The weights.
      extract: The network, made ready.
      feature: Name of the features.
      width: Their number.
      num_rows: How many rows are kept for the error bar.
      on_host: Whether sums are kept on the host.
    """

    params: Any
    extract: ArrayFeatures = dataclasses.field(metadata={"static": True})
    feature: str = dataclasses.field(metadata={"static": True})
    width: int = dataclasses.field(metadata={"static": True})
    num_rows: int = dataclasses.field(metadata={"static": True})
    on_host: bool = dataclasses.field(metadata={"static": True})

    def init(self) -> EvaluatorState:
        """Returns the state of no images."""
        moments, one = zero_moments(self.width), np.int32(1)
        # x64 for this block alone: the caller's program keeps the types that it was written for.
        with own_context(x64=True), jax.enable_x64(True):
            rows = KeptRows.empty(self.width, limit=self.num_rows)
            if self.on_host:
                return EvaluatorState(moments, jax.tree.map(np.asarray, rows), np.asarray(one))
            return EvaluatorState(jax.tree.map(jnp.zeros_like, moments), rows, jnp.asarray(one))

    def features(self, images: Images) -> Float32[Array, "n d"]:
        """Returns the features of the images, differentiable in those that are floating.

        Raises:
          InputError: The images have another shape or type, or their range is not known.
        """
        if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
            raise InputError(f"images: expected (n, height, width, 3), found {images.shape}")
        return self.extract(self.params, images)[self.feature]

    def update(
        self,
        state: EvaluatorState,
        features: Float[Array | np.ndarray, "n d"],
        mask: Bool[Array | np.ndarray, "..."] | None = None,
    ) -> EvaluatorState:
        """Returns the state with further images, whose features are given.

        Args:
          state: From `init` or an earlier update.
          features: Of further images.
          mask: True where there is an image; None where there is one in every row.

        Raises:
          InputError: The state or mask is not what it should be; or sums are kept on the host, and this
            is the inside of a compiled function.
        """
        mask = np.ones(len(features), bool) if mask is None else mask
        self._check(state, features, mask)
        with own_context(x64=True), jax.enable_x64(True):
            if self.on_host:
                return jax.tree.map(np.asarray, _add(state, np.asarray(features), np.asarray(mask)))
            return _add_on_device(state, features, jnp.asarray(mask, bool))

    def _check(self, state: EvaluatorState, features: Any, mask: Any) -> None:  # noqa: ANN401
        leaves = jax.tree.leaves((state, features, mask))
        # A tracer has no numbers to bring to the host.
        if self.on_host and any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            raise InputError(
                "state: these devices have no float64, so sums are kept on the host and no compiled function "
                "can update them: return `features(images)` from it, and call `update_from_features` outside"
            )
        shape, dtype = state.moments.outer.shape, state.moments.outer.dtype
        if shape != (self.width, self.width):
            raise InputError(
                f"state: expected sums of {self.width} features, shape {(self.width, self.width)}, "
                f"found {shape}; `total_over` merges the leading axes of several devices"
            )
        if dtype != np.float64:
            raise InputError(
                f"state: expected float64, found {dtype}; a state of NumPy arrays loses digits on its way "
                "into a compiled function: give it `init() + state`"
            )
        if mask.shape != (len(features),):
            raise InputError(f"mask: expected shape ({len(features)},), found {mask.shape}")


@own_context(x64=None)
def make_on_device(
    extractor: Extractor,
    feature: str,
    *,
    value_range: ValueRange | None = None,
    quantize: bool = True,
    batch_size: int | None = None,
    sums: Sums = "auto",
    num_rows: int = MAX_KEPT_ROWS,
) -> OnDevice:
    """Returns an extractor made ready to keep one of its features over images on the devices.

    Args:
      extractor: The network.
      feature: Which of its features.
      value_range: What black and white are in floating images; None if there will be no floating images.
      quantize: Whether those are rounded to whole pixels.
      batch_size: Images that go through the network at once, over all devices; None chooses.
      sums: Where sums are kept, as in `make_moments`.
      num_rows: How many rows are kept for the error bar.

    Raises:
      InputError: `sums` is "device", and the devices have no float64.
    """
    return OnDevice(
        params=jax.tree.map(jnp.asarray, extractor.params),
        extract=ArrayFeatures(
            extractor, value_range=value_range, quantize=quantize, batch_size=batch_size
        ),
        feature=feature,
        width=extractor.widths[feature],
        num_rows=num_rows,
        on_host=keeps_sums_on_host(sums, local_mesh()),
    )


def _add(state: EvaluatorState, rows: Any, mask: Any) -> EvaluatorState:  # noqa: ANN401
    return EvaluatorState(
        state.moments + moments_of(rows, mask), state.rows.update(rows, mask), state.parts
    )


_add_on_device = jax.jit(over_automatic_axes(_add))
