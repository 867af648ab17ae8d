"""What an `Evaluator` keeps of images that a JAX program has made, for use inside that program."""

import dataclasses
from typing import Any, Literal

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Shaped

from jaxfid.context import own_context
from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import Sums, choose_sums
from jaxfid.extraction.array_features import ArrayFeatures
from jaxfid.extraction.devices import local_mesh, over_automatic_axes, own_rows, put_replicated
from jaxfid.extraction.evaluator_state import EvaluatorState, require_float64
from jaxfid.extraction.programs import share
from jaxfid.extractors.interface import Extractor
from jaxfid.preprocessing.value_range import ValueRange
from jaxfid.stats.array_tree import array_tree
from jaxfid.stats.integer_moments import (
    IntegerMoments,
    integer_moments_of,
    zero_integer_moments,
)
from jaxfid.stats.kept_rows import MAX_KEPT_ROWS, KeptRows
from jaxfid.stats.moments import moments_of, zero_moments

Images = Shaped[Array | np.ndarray, "..."]
"""Images `(n, h, w, 3)`, uint8 or floating; anything else is refused with a message."""


@array_tree
@dataclasses.dataclass(frozen=True)
class OnDevice:
    """What turns images into a state: a pytree of the network's weights.

    The state is the caller's: on the devices, or as NumPy arrays where sums are kept on the host. Every
    function but those that keep them there may be used inside `jit`, `scan`, `shard_map` and `pmap`,
    with x64 or without.

    Attributes:
      params: The weights.
      extract: The network, made ready.
      feature: Name of the features.
      width: Their number.
      num_rows: How many rows are kept, for error bars and metrics of single images.
      sums: How sums are kept: in float64, in whole numbers, or on the host.
    """

    params: Any
    extract: ArrayFeatures = dataclasses.field(metadata={"static": True})
    feature: str = dataclasses.field(metadata={"static": True})
    width: int = dataclasses.field(metadata={"static": True})
    num_rows: int = dataclasses.field(metadata={"static": True})
    sums: Literal["device", "integer", "host"] = dataclasses.field(metadata={"static": True})

    @property
    def on_host(self) -> bool:
        """Whether states are NumPy arrays."""
        return self.sums == "host"

    def init(self) -> EvaluatorState:
        """Returns the state of no images."""
        make_zeros = zero_integer_moments if self.sums == "integer" else zero_moments
        moments = make_zeros(self.width)
        parts, merged = np.ones((), np.int32), np.zeros((), np.int32)
        # x64 for this block alone: the caller's program keeps the types that it was written for.
        with own_context(x64=True), jax.enable_x64(True):
            rows = KeptRows.empty(self.width, limit=self.num_rows)
            if self.on_host:
                state = EvaluatorState(moments, rows, parts, merged)
                return jax.tree.map(np.asarray, state)
            zeros = jax.tree.map(jnp.zeros_like, moments)
            return EvaluatorState(zeros, rows, jnp.asarray(parts), jnp.asarray(merged))

    def place(self, state: EvaluatorState) -> EvaluatorState:
        """Returns a state of NumPy arrays as `init` gives one: on a device, or on the host."""
        if self.on_host:
            return state
        with own_context(x64=True):
            return jax.tree.map(jnp.asarray, state)

    def features(self, images: Images) -> Float32[Array, "n d"]:
        """Returns the features of the images, differentiable in those that are floating.

        Raises:
          InputError: The images have another shape or type, or their range is not known.
        """
        _require_array("images", images)
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
        _require_array("features", features)
        if features.ndim != 2 or features.shape[1] != self.width:
            raise InputError(f"features: expected (n, {self.width}), found {features.shape}")
        mask = np.ones(len(features), bool) if mask is None else mask
        _require_array("mask", mask)
        self._check(state, features, mask)
        with own_context(x64=True), jax.enable_x64(True):
            if self.on_host:
                rows, places = own_rows(features)
                return jax.tree.map(np.asarray, _add(state, rows, _whole(mask)[places]))
            return _add_on_device(state, features, jnp.asarray(mask, bool))

    def _check(self, state: EvaluatorState, features: Any, mask: Any) -> None:  # noqa: ANN401
        leaves = jax.tree.leaves((state, features, mask))
        # A tracer has no numbers to bring to the host.
        if self.on_host and any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            raise InputError(
                "state: its sums are kept on the host, and no compiled function can update them: choose "
                "sums='integer', or return `features(images)` and call `update_from_features` outside"
            )
        shape = state.moments.outer.shape
        if shape[-2:] != (self.width, self.width) or np.ndim(state.moments.count):
            raise InputError(
                f"state: expected sums of {self.width} features, shape {(self.width, self.width)}, "
                f"found {shape}; `total_over` merges the leading axes of several devices"
            )
        if isinstance(state.moments, IntegerMoments) != (self.sums == "integer"):
            raise InputError(
                f"state: expected one of this evaluator, whose sums are kept as sums={self.sums!r} says, "
                f"found {type(state.moments).__name__}"
            )
        require_float64(state)
        if mask.shape != (len(features),):
            raise InputError(f"mask: expected shape ({len(features)},), found {mask.shape}")


def _require_array(name: str, given: object) -> None:
    # A list has no shape, and JAX would name neither the argument nor what to do.
    if not isinstance(given, jax.Array | np.ndarray):
        raise InputError(f"{name}: expected an array of JAX or NumPy, found {type(given).__name__}")


@own_context(x64=None)
def make_on_device(
    extractor: Extractor,
    feature: str,
    *,
    value_range: ValueRange | None = None,
    quantize: bool = True,
    rows_per_device: int | None = None,
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
      rows_per_device: Images that go through the network at once on a device; None chooses.
      batch_size: The same over all devices, where `rows_per_device` is None.
      sums: How sums are kept, as in `make_moments`.
      num_rows: How many rows are kept, for error bars and metrics of single images.

    Raises:
      InputError: `sums` is "device", and the devices have no float64.
    """
    choices = {
        "value_range": value_range,
        "quantize": quantize,
        "rows_per_device": rows_per_device,
        "batch_size": batch_size,
    }
    return OnDevice(
        params=jax.tree.map(jnp.asarray, extractor.params),
        extract=share(
            extractor, ("arrays", *choices.values()), lambda: ArrayFeatures(extractor, **choices)
        ),
        feature=feature,
        width=extractor.widths[feature],
        num_rows=num_rows,
        sums=choose_sums(sums, local_mesh()),
    )


def _add(state: EvaluatorState, rows: Any, mask: Any) -> EvaluatorState:  # noqa: ANN401
    in_whole_numbers = isinstance(state.moments, IntegerMoments)
    sums_of: Any = integer_moments_of if in_whole_numbers else moments_of
    return dataclasses.replace(
        state,
        moments=state.moments + sums_of(rows, mask),
        rows=state.rows.update(rows, mask, first=state.moments.count),
    )


def _whole(mask: Bool[Array | np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Returns a mask on the host, also one that is divided over several processes."""
    if isinstance(mask, jax.Array) and not (mask.is_fully_addressable or mask.is_fully_replicated):
        mask = put_replicated(mask, mask.sharding.mesh)  # pyright: ignore[reportAttributeAccessIssue]
    return np.asarray(mask)


_add_on_device = jax.jit(over_automatic_axes(_add))
