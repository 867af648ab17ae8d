"""Features of images that a JAX program has made: they are on the devices already, all of one size."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Shaped

from jaxfid.context import own_context
from jaxfid.extraction.devices import (
    Division,
    find_division,
    is_cpu,
    local_mesh,
    over_automatic_axes,
)
from jaxfid.extraction.feature_pass import prepare
from jaxfid.extraction.microbatch import map_rows
from jaxfid.extractors.interface import Extractor
from jaxfid.preprocessing.resize import batch_positions, check_needs_no_crop
from jaxfid.preprocessing.value_range import ValueRange, to_pixels

ROWS_PER_DEVICE = 256
"""Images at once on one device: at 299 pixels each takes some 20 MB of the first layers' activations."""


class ArrayFeatures:
    """An extractor made ready for device arrays, in and outside of other compiled functions.

    Args:
      extractor: The network. Its parameters are not kept: they are given with the images.
      value_range: What black and white are in floating images.
      quantize: Whether those are rounded to whole pixels.
      rows_per_device: Images at once on one device; None chooses: one on a CPU.
      batch_size: Images at once over all devices, where `rows_per_device` is None; accelerators alone.
    """

    def __init__(
        self,
        extractor: Extractor,
        *,
        value_range: ValueRange | None,
        quantize: bool,
        rows_per_device: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._on_cpu = is_cpu(local_mesh())
        self._rows_per_device, self._batch_size = rows_per_device, batch_size
        self._to_pixels = functools.partial(to_pixels, value_range=value_range, quantize=quantize)
        # Not the extractor itself, which would keep its weights alive beside those given at each call.
        self._apply, self._protocol = extractor.extract, extractor.protocol
        self._extract = jax.jit(self._compute, static_argnames=("rows", "devices", "axes"))

    @own_context(x64=None)
    def __call__(
        self,
        params: Any,  # noqa: ANN401
        images: Shaped[Array | np.ndarray, "..."],
    ) -> dict[str, Float32[Array, "n _"]]:
        """Returns the features of the images by name, some images at a time."""
        division = find_division(images)
        rows, devices = self._choose_rows(division)
        return self._extract(params, images, rows=rows, devices=devices, axes=division.axes)

    def _choose_rows(self, division: Division) -> tuple[int, int]:
        """Returns how many images go through at once on a device, and on how many devices they lie."""
        given, devices = self._rows_per_device, division.num_devices
        if given is None and self._on_cpu:
            return 1, devices
        if division.is_known:
            shared = None if self._batch_size is None else max(1, self._batch_size // devices)
            return given or shared or ROWS_PER_DEVICE, devices
        # All may lie on one device, which then takes the rows of all.
        in_all = given or self._batch_size or ROWS_PER_DEVICE
        return (in_all // devices, devices) if devices <= in_all else (in_all, 1)

    def _compute(
        self,
        params: Any,  # noqa: ANN401
        images: Array,
        *,
        rows: int,
        devices: int,
        axes: tuple[str, ...],
    ) -> dict[str, Array]:
        over_rows = map_rows(self._extract_part, rows_per_device=rows, num_devices=devices)
        return over_automatic_axes(over_rows, axes=axes)(params, images)

    def _extract_part(self, params: Any, images: Array) -> dict[str, Array]:  # noqa: ANN401
        check_needs_no_crop(self._protocol, *images.shape[1:3])
        # All images are of one size, so the positions of one serve them all.
        one = batch_positions(self._protocol, np.array([images.shape[1:3]]))
        positions = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (len(images), *leaf.shape[1:])), one
        )
        pixels = self._to_pixels(images)
        return self._apply(params, prepare(pixels, positions, self._protocol))
