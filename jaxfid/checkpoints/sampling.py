"""A user's sampler: loaded by name, and its images drawn from the same noise for every checkpoint."""

import functools
import threading
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt8

from jaxfid.checkpoints.defaults import CHUNK_SIZE
from jaxfid.checkpoints.find import Checkpoint
from jaxfid.errors import InputError, JaxfidError
from jaxfid.extractors.named_function import load_function
from jaxfid.images.drawn import DrawnSource
from jaxfid.preprocessing.value_range import ValueRange, check_value_range, to_pixels

Sample = Callable[[PRNGKeyArray, int], UInt8[Array, "n h w 3"] | Float[Array, "n h w 3"]]
"""From a key and a number to so many images."""

MakeSample = Callable[[Path], Sample]
"""From a checkpoint to the function that draws its images."""


def load_sampler(name: str) -> MakeSample:
    """Returns the function of that name, as `load_function` does.

    Raises:
      InputError: There is no such function.
    """
    return load_function(name, argument="sampler")


def draw_from(
    checkpoint: Checkpoint,
    make_sample: MakeSample,
    *,
    num_images: int,
    seed: int = 0,
    chunk_size: int = CHUNK_SIZE,
    value_range: ValueRange | None = None,
    num_devices: int | None = None,
) -> DrawnSource:
    """Returns a checkpoint's samples as a source of images, drawn when they are read.

    Chunk `c` of the images is `sample(fold_in(key(seed), c), chunk_size)`, always of the whole size. So
    image `i` has the same noise for every checkpoint, whatever the number of images, of devices and of
    images per step; only another seed or chunk size gives other noise.

    Each device draws chunks of its own. `make_sample` is called once for each, with that device as JAX's
    default, so that what it loads lies there; a sampler that chooses its devices itself is left to it.

    Args:
      checkpoint: Where to load from.
      make_sample: The user's function.
      num_images: How many images.
      seed: Of the noise.
      chunk_size: Images per call of `sample`.
      value_range: What black and white are in floating images, which are rounded to pixels as
        `floor(x * 127.5 + 128)` does it for -1..1; None where `sample` gives uint8.
      num_devices: How many of this process's devices draw; None for all.

    Raises:
      InputError: A number is below 1. Reading raises it where the images are not `(chunk_size, h, w, 3)`,
        or floating without a range; and JaxfidError where they are not finite.
    """
    check_value_range(value_range)
    root = jax.random.key(seed)
    replicas = [
        _Replica(checkpoint, make_sample, device, chunk_size, value_range)
        for device in jax.local_devices()[:num_devices]
    ]

    def draw(chunk: int) -> UInt8[np.ndarray, "size h w 3"]:
        return replicas[chunk % len(replicas)].draw(jax.random.fold_in(root, chunk), chunk)

    return DrawnSource(
        draw,
        name=checkpoint.name,
        num_images=num_images,
        chunk_size=chunk_size,
        fingerprint=f"{checkpoint.stamp()}, seed {seed}, chunks of {chunk_size}, range {value_range}",
        num_threads=len(replicas),
    )


class _Replica:
    """The sampler of a checkpoint on one device, loaded when first used; draws one chunk at a time."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        make_sample: MakeSample,
        device: jax.Device,
        chunk_size: int,
        value_range: ValueRange | None,
    ) -> None:
        self._checkpoint, self._make_sample, self._device = checkpoint, make_sample, device
        self._chunk_size, self._value_range = chunk_size, value_range
        self._sample: Sample | None = None
        self._lock = threading.Lock()

    def draw(self, key: PRNGKeyArray, chunk: int) -> UInt8[np.ndarray, "size h w 3"]:
        with self._lock, jax.default_device(self._device):
            if self._sample is None:
                self._sample = self._make_sample(self._checkpoint.path)
            images = self._sample(key, self._chunk_size)
            self._check_shape(jnp.shape(images))
            pixels, finite = _to_uint8(images, self._value_range)
            if not finite:
                first = chunk * self._chunk_size
                raise JaxfidError(
                    f"{self._checkpoint.name}: the sampler gave NaN or infinity, among images {first} "
                    f"to {first + self._chunk_size - 1}"
                )
            return np.asarray(pixels)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        size = self._chunk_size
        if len(shape) != 4 or shape[0] != size or shape[3] not in (1, 3) or 0 in shape:
            raise InputError(
                f"{self._checkpoint.name}: expected sample(key, {size}) to give images of shape "
                f"({size}, h, w, 3), or of one channel, found {shape}"
            )


@functools.partial(jax.jit, static_argnames="value_range")
def _to_uint8(
    images: Array, value_range: ValueRange | None
) -> tuple[UInt8[Array, "n h w 3"], Bool[Array, ""]]:
    pixels = to_pixels(images, value_range, quantize=True)
    finite = jnp.isfinite(images).all()
    return jnp.broadcast_to(pixels.astype(jnp.uint8), (*pixels.shape[:3], 3)), finite
