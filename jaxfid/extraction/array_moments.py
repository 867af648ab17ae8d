"""Moments of images that a JAX program has made, for use inside that program."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, UInt8

from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import keeps_sums_on_host
from jaxfid.extraction.array_features import ArrayFeatures
from jaxfid.extraction.context import own_context
from jaxfid.extraction.devices import local_mesh, over_automatic_axes
from jaxfid.extractors.inception.extractor import Extractor
from jaxfid.preprocessing.value_range import ValueRange
from jaxfid.stats.moments import Moments, deal, moments_of, zero_moments

Images = UInt8[Array, "n h w 3"] | Float[Array, "n h w 3"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ArrayMoments:
    """What turns images into sums of features: a pytree of the network's weights.

    The sums themselves are `Moments` with the blocks as leading axis, which the caller holds: on the
    devices, or as NumPy arrays where the devices have no float64. Every function but those that keep
    sums on the host may be used inside `jit`, `scan`, `shard_map` and `pmap`, x64 enabled or not.

    Attributes:
      params: The weights.
      extract: The network, made ready.
      feature: Name of the features.
      width: Their number.
      num_blocks: Blocks that images are dealt to in turn.
      on_host: Whether sums are kept on the host.
    """

    params: Any
    extract: ArrayFeatures = dataclasses.field(metadata={"static": True})
    feature: str = dataclasses.field(metadata={"static": True})
    width: int = dataclasses.field(metadata={"static": True})
    num_blocks: int = dataclasses.field(metadata={"static": True})
    on_host: bool = dataclasses.field(metadata={"static": True})

    def init(self) -> Moments:
        """Returns the sums of no images."""
        nothing = zero_moments(self.width, lead=(self.num_blocks,))
        if self.on_host:
            return nothing
        with own_context(x64=True), jax.enable_x64(True):
            return jax.tree.map(jnp.zeros_like, nothing)

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
        state: Moments,
        features: Float32[Array, "n d"],
        mask: Bool[Array, " n"] | None = None,
    ) -> Moments:
        """Returns the sums with those of the features added.

        Image number i, counted over all updates of a state and without those that are left out, goes
        to block i modulo `num_blocks`.

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
        if self.on_host:
            return _add_rows(state, np.asarray(features), np.asarray(mask))
        with own_context(x64=True), jax.enable_x64(True):
            return _add_rows_on_device(state, features, jnp.asarray(mask, bool))

    def _check(self, state: Moments, features: Array, mask: Array) -> None:
        traced = (isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((state, features, mask)))
        if self.on_host and any(traced):
            raise InputError(
                "state: these devices have no float64, so sums are kept on the host and no compiled function "
                "can update them: return `features(images)` from it, and call `update_from_features` outside"
            )
        lead, dtype = (self.num_blocks,), state.outer.dtype
        if state.outer.shape != (*lead, self.width, self.width):
            raise InputError(
                f"state: expected sums of {self.width} features in {self.num_blocks} blocks, shape "
                f"{(*lead, self.width, self.width)}, found {state.outer.shape}"
            )
        if dtype != np.float64:
            raise InputError(
                f"state: expected float64, found {dtype}; a state of NumPy arrays loses digits on its way "
                "into a compiled function: give it `init() + state`"
            )
        if mask.shape != (len(features),):
            raise InputError(f"mask: expected shape ({len(features)},), found {mask.shape}")


@own_context(x64=None)
def make_array_moments(
    extractor: Extractor,
    feature: str,
    *,
    value_range: ValueRange | None = None,
    quantize: bool = True,
    num_blocks: int = 1,
    batch_size: int | None = None,
    sums: Literal["auto", "device", "host"] = "auto",
) -> ArrayMoments:
    """Returns an extractor made ready to sum one of its features over images on the devices.

    Args:
      extractor: The network.
      feature: Which of its features.
      value_range: What black and white are in floating images; None where there are to be none.
      quantize: Whether those are rounded to whole pixels.
      num_blocks: Blocks that images are dealt to in turn.
      batch_size: Images that go through the network at once, over all devices; None chooses.
      sums: Where sums are kept, as in `make_moments`.

    Raises:
      InputError: `sums` is "device", and the devices have no float64.
    """
    return ArrayMoments(
        params=jax.tree.map(jnp.asarray, extractor.params),
        extract=ArrayFeatures(
            extractor, value_range=value_range, quantize=quantize, batch_size=batch_size
        ),
        feature=feature,
        width=extractor.widths[feature],
        num_blocks=num_blocks,
        on_host=keeps_sums_on_host(sums, local_mesh()),
    )


def _add_rows(state: Moments, rows: Array | np.ndarray, mask: Array | np.ndarray) -> Moments:
    num_blocks = len(state.count)
    if num_blocks == 1:
        return state + moments_of(rows[None], mask[None])
    # The images first, in their order, so that those left out do not count.
    order = (~mask).argsort(stable=True)
    first = state.count.sum().astype(order.dtype)
    dealt = (deal(array[order], first, num_blocks) for array in (rows, mask))
    return state + moments_of(*dealt)


_add_rows_on_device = jax.jit(over_automatic_axes(_add_rows))
