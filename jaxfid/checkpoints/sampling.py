"""Images of a checkpoint, drawn by a user's sampler from the same noise for every checkpoint."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int32, PRNGKeyArray, UInt8

from jaxfid.checkpoints.defaults import CHUNK_SIZE, SamplerPlacement
from jaxfid.checkpoints.drawn_range import RangeCount, count_range, describe_range
from jaxfid.checkpoints.find import Checkpoint
from jaxfid.checkpoints.labels import Labels
from jaxfid.checkpoints.placements import Place, choose_places
from jaxfid.checkpoints.sampled_images import SampledImages
from jaxfid.checkpoints.sampler_calls import SamplerError, calling, describe_call
from jaxfid.errors import InputError
from jaxfid.extraction.devices import map_over_devices
from jaxfid.extraction.local_rows import PADDING, LocalRows
from jaxfid.extractors.named_function import load_function
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
    placement: SamplerPlacement = "process",
    sampler_identity: str = "",
) -> SampledImages:
    """Returns a checkpoint's samples as a source of images, drawn when they are read.

    Chunk `c` of the images is `sample(fold_in(key(seed), c), chunk_size)`, always of the whole size. So
    image `i` has the same noise for every checkpoint, whatever the number of images, of devices and of
    images per step; only another seed or chunk size gives other noise. With labels it is
    `sample(fold_in(key(seed), c), labels)`, with an int32 array of the chunk's.

    `placement` says who calls the sampler, and so which of its images are a process's own:

    * `process`: `make_sample` is called once in each process, and `sample` once for each chunk of that
      process, on whichever devices of the process it uses.
    * `device`: `make_sample` is called once for each device, with that device as JAX's default, so that what
      it loads lies there. Each device draws chunks of its own.
    * `global`: all processes call `make_sample`, and `sample` for every chunk, together.

    The images stay on the devices; `read` brings single ones to the host.

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
      num_devices: How many of this process's devices take the images; None for all.
      labels: The class of each image; None asks the sampler for a number of images.
      placement: Who calls the sampler.
      sampler_identity: Tells the sampler from others, for progress that is kept within a set.

    Raises:
      InputError: A number is below 1, or the range is none. Reading raises it where images are floating
        and no range is stated.
    """
    value_range = check_value_range(value_range)
    root = jax.random.key(seed)
    remarks: list[str] = []
    places = choose_places(placement, num_devices, chunk_size)
    replicas = [
        _Replica(checkpoint, make_sample, place, chunk_size, value_range, remarks, labels)
        for place in places
    ]

    def draw(chunk: int) -> LocalRows:
        # The noise depends on the chunk alone, so any number of devices draws the same images.
        return replicas[chunk % len(replicas)].draw(jax.random.fold_in(root, chunk), chunk)

    noise = f"seed {seed}, chunks of {chunk_size}, range {value_range}"
    if labels is not None:
        noise += f", labels {labels.identity}"
    source = SampledImages(
        draw,
        places,
        num_devices=num_devices,
        name=checkpoint.name,
        num_images=num_images,
        chunk_size=chunk_size,
        fingerprint=f"{checkpoint.stamp()}, {noise}, sampler {sampler_identity}",
    )
    source.remarks = remarks
    source.labels = None if labels is None else labels.names()
    return source


class _Replica:
    """The sampler of a checkpoint at one place, loaded when first used; draws one chunk at a time."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        make_sample: MakeSample,
        place: Place,
        chunk_size: int,
        value_range: ValueRange | None,
        remarks: list[str],
        labels: Labels | None,
    ) -> None:
        self._checkpoint, self._make_sample, self._place = checkpoint, make_sample, place
        self._chunk_size, self._value_range, self._remarks = chunk_size, value_range, remarks
        self._labels = labels
        self._sample: Sample | None = None
        self._lock = threading.Lock()

    def draw(self, key: PRNGKeyArray, chunk: int) -> LocalRows:
        """Returns this process's pixels of a chunk, on its devices; positions are those in the chunk."""
        with self._lock, self._place.as_default():
            images = self._check(self._call(key, chunk))
            try:
                rows = self._place.take(images, self._chunk_size)
            except InputError as error:
                raise self._error(str(error)) from error
            pixels, count = _converting(self._place.mesh, self._value_range)(rows.images)
            count = jax.device_get(count)  # explicit, which a transfer guard lets pass
            there = rows.positions != PADDING
            count = RangeCount(*(of_images[there] for of_images in count))
            self._check_finite(count, chunk)
            if chunk == 0:
                self._remark(count)
            return LocalRows(pixels, rows.positions)

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
        size, shape = self._place.rows_of(images, self._chunk_size), images.shape
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
        if not count.finite.all():
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


@functools.cache
def _converting(mesh: Mesh, value_range: ValueRange | None) -> Callable[..., Any]:
    """`_to_uint8` on every device by itself, the same for all checkpoints so that it compiles once."""
    convert = functools.partial(_to_uint8, value_range=value_range)
    return map_over_devices(convert, mesh, replicated=(False,))


def _to_uint8(
    images: UInt8[Array, "n h w c"] | Float[Array, "n h w c"], value_range: ValueRange | None
) -> tuple[UInt8[Array, "n h w 3"], RangeCount]:
    images = jnp.broadcast_to(images, (*images.shape[:3], 3))
    pixels = to_pixels(images, value_range, quantize=True)
    return pixels.astype(jnp.uint8), count_range(images, value_range)
