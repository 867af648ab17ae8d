"""Images of a checkpoint, drawn by a user's sampler from the same noise for every checkpoint."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float, Int32, PRNGKeyArray, UInt8

from jaxfid.checkpoints.defaults import CHUNK_SIZE
from jaxfid.checkpoints.drawn_range import RangeCount, count_range, describe_range
from jaxfid.checkpoints.find import Checkpoint
from jaxfid.checkpoints.labels import Labels
from jaxfid.checkpoints.sampler_calls import SamplerError, calling, describe_call
from jaxfid.errors import InputError
from jaxfid.extractors.named_function import load_function
from jaxfid.images.drawn import DrawnSource
from jaxfid.preprocessing.value_range import ValueRange, check_value_range, to_pixels

Sample = Callable[[PRNGKeyArray, Any], UInt8[Array, "n h w 3"] | Float[Array, "n h w 3"]]
"""From a key and a number to so many images, or from a key and labels to an image of each."""

MakeSample = Callable[[epath.Path], Sample]
"""From a checkpoint's path to the function that draws its images."""


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
    labels: Labels | None = None,
    sampler_identity: str = "",
) -> DrawnSource:
    """Returns a checkpoint's samples as a source of images, drawn when they are read.

    Chunk `c` of the images is `sample(fold_in(key(seed), c), chunk_size)`, always of the whole size. So
    image `i` has the same noise for every checkpoint, whatever the number of images, of devices and of
    images per step; only another seed or chunk size gives other noise. With labels it is
    `sample(fold_in(key(seed), c), labels)`, with an int32 array of the chunk's.

    Each device draws chunks of its own. `make_sample` is called once for each, with that device as JAX's
    default, so that what it loads lies there; a sampler that chooses its devices itself is left to it.

    Reading raises `SamplerError`, in one sentence, where the user's code raises an exception or gives
    something else than finite images of shape `(chunk_size, h, w, 3)` or of one channel. The source's
    `remarks` say, once the first chunk was drawn, where its values do not look like `value_range`.

    Args:
      checkpoint: Where to load from.
      make_sample: The user's function.
      num_images: How many images.
      seed: Of the noise.
      chunk_size: Images per call of `sample`.
      value_range: What black and white are in floating images, which are rounded to pixels as
        `floor(x * 127.5 + 128)` does it for -1..1; None where `sample` gives uint8.
      num_devices: How many of this process's devices draw; None for all.
      labels: The class of each image; None asks the sampler for a number of images.
      sampler_identity: Tells the sampler from others, for progress that is kept within a set.

    Raises:
      InputError: A number is below 1, or the range is none. Reading raises it where images are floating
        and no range is stated.
    """
    value_range = check_value_range(value_range)
    root = jax.random.key(seed)
    remarks: list[str] = []
    replicas = [
        _Replica(checkpoint, make_sample, device, chunk_size, value_range, remarks, labels)
        for device in jax.local_devices()[:num_devices]
    ]

    def draw(chunk: int) -> UInt8[np.ndarray, "size h w 3"]:
        # The noise depends on the chunk alone, so any number of devices draws the same images.
        return replicas[chunk % len(replicas)].draw(jax.random.fold_in(root, chunk), chunk)

    noise = f"seed {seed}, chunks of {chunk_size}, range {value_range}"
    if labels is not None:
        noise += f", labels {labels.identity}"
    source = DrawnSource(
        draw,
        name=checkpoint.name,
        num_images=num_images,
        chunk_size=chunk_size,
        fingerprint=f"{checkpoint.stamp()}, {noise}, sampler {sampler_identity}",
        num_threads=len(replicas),
    )
    source.remarks = remarks
    source.labels = None if labels is None else labels.names()
    return source


class _Replica:
    """The sampler of a checkpoint on one device, loaded when first used; draws one chunk at a time."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        make_sample: MakeSample,
        device: jax.Device,  # pyright: ignore[reportInvalidTypeForm]
        chunk_size: int,
        value_range: ValueRange | None,
        remarks: list[str],
        labels: Labels | None,
    ) -> None:
        self._checkpoint, self._make_sample, self._device = checkpoint, make_sample, device
        self._chunk_size, self._value_range, self._remarks = chunk_size, value_range, remarks
        self._labels = labels
        self._sample: Sample | None = None
        self._lock = threading.Lock()

    def draw(self, key: PRNGKeyArray, chunk: int) -> UInt8[np.ndarray, "size h w 3"]:
        with self._lock, jax.default_device(self._device):
            images = self._check(self._call(key, chunk))
            pixels, count = _to_uint8(images, self._value_range)
            self._check_finite(count, chunk)
            if chunk == 0:
                self._remark(count)
            return np.asarray(pixels)

    def _call(self, key: PRNGKeyArray, chunk: int) -> object:
        name = self._checkpoint.name
        if self._sample is None:
            with calling(self._make_sample, name, f"sampler({self._checkpoint.path})"):
                self._sample = self._make_sample(self._checkpoint.path)
        with calling(self._make_sample, name, self._describe_call()):
            # JAX computes ahead: an error of the device would come up outside this block.
            return jax.block_until_ready(self._sample(key, self._wanted(chunk)))

    def _wanted(self, chunk: int) -> int | Int32[Array, " size"]:
        """What is asked for: a number of images, or one of each of some classes."""
        if self._labels is None:
            return self._chunk_size
        return jnp.asarray(self._labels.take(chunk * self._chunk_size, self._chunk_size))

    def _describe_call(self) -> str:
        return f"sample(key, {self._chunk_size if self._labels is None else 'labels'})"

    def _check(self, images: object) -> Array | np.ndarray:
        """Returns what the user's code gave, once it is known to be images."""
        if not isinstance(images, jax.Array | np.ndarray):
            raise self._error(f"expected an array of JAX or NumPy, found {type(images).__name__}")
        size, shape = self._chunk_size, images.shape
        if len(shape) != 4 or shape[0] != size or shape[3] not in (1, 3) or 0 in shape:
            raise self._error(
                f"expected images of shape ({size}, h, w, 3), or of one channel, found {shape}"
            )
        # A range is asked for and not guessed: samples in 0..1 taken for -1..1 still give a plausible FID.
        floating = jnp.issubdtype(images.dtype, jnp.floating)
        if images.dtype != jnp.uint8 and not floating:
            raise self._error(f"expected uint8 or floating point, found {images.dtype}")
        if floating and self._value_range is None:
            raise InputError(
                f"value_range: the sampler gives {images.dtype}, which could be in any range; state "
                "it, as in value_range=(-1, 1)"
            )
        return images

    def _check_finite(self, count: RangeCount, chunk: int) -> None:
        if not count.finite:
            first = chunk * self._chunk_size
            last = first + self._chunk_size - 1
            raise self._error(f"the sampler gave NaN or infinity, among images {first} to {last}")

    def _error(self, fault: str) -> SamplerError:
        start = describe_call(self._make_sample, self._checkpoint.name, self._describe_call())
        return SamplerError(f"{start}: {fault}")

    def _remark(self, count: RangeCount) -> None:
        remark = describe_range(count, self._value_range)
        if remark is not None and remark not in self._remarks:  # a chunk may be drawn again
            self._remarks.append(remark)


@functools.partial(jax.jit, static_argnames="value_range")
def _to_uint8(
    images: UInt8[Array, "n h w c"] | Float[Array, "n h w c"], value_range: ValueRange | None
) -> tuple[UInt8[Array, "n h w 3"], RangeCount]:
    images = jnp.broadcast_to(images, (*images.shape[:3], 3))
    pixels = to_pixels(images, value_range, quantize=True)
    return pixels.astype(jnp.uint8), count_range(images, value_range)
