"""jaxfid's side of the network bench: its network on all devices, and what the devices could do at most."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxfid import open_source
from jaxfid.extraction.devices import local_mesh, map_over_devices, put_rows
from jaxfid.extractors.precision import get_precision
from jaxfid.images.batches import Batch
from lib.measure import Spread, alternate, time_call
from lib.pipeline import Pipeline, make_inception

PROTOCOL = "legacy_pytorch"
FEATURE = "2048"


class JaxfidNetwork:
    """jaxfid's network at one precision, fed batches of the same images."""

    def __init__(self, images: np.ndarray, weights: str, precision: str, steps: int) -> None:
        self._images, self._steps = images, steps
        self._extractor = make_inception(weights, PROTOCOL, FEATURE, precision=precision)
        self._made: dict[int, tuple[Pipeline, Batch]] = {}

    def _at(self, batch_size: int) -> tuple[Pipeline, Batch]:
        if batch_size not in self._made:
            pipeline = Pipeline(self._extractor, batch_size=batch_size, largest=batch_size)
            repeats = -(-batch_size // len(self._images))
            source = open_source(np.tile(self._images, (repeats, 1, 1, 1))[:batch_size])
            self._made[batch_size] = pipeline, next(iter(pipeline.decode(source)))
        return self._made[batch_size]

    def features(self) -> Float[np.ndarray, "n 2048"]:
        """Returns the features of the images."""
        pipeline, batch = self._at(len(self._images))
        return np.asarray(pipeline.features(batch))[: len(self._images)]

    def run(self, batch_size: int) -> float:
        """Returns the seconds of the steps, after one that is not timed."""
        pipeline, batch = self._at(batch_size)

        def take_steps(count: int) -> None:
            jax.block_until_ready([pipeline.features(batch) for _ in range(count)])

        take_steps(1)
        return time_call(lambda: take_steps(self._steps))

    def flops(self) -> float:
        """Returns the floating-point operations per image, as XLA counts those of the network."""
        image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
        lowered = jax.jit(self._extractor.apply).lower(self._extractor.params, image)
        counted = lowered.cost_analysis()
        return float("nan") if counted is None else counted["flops"]


def measure_matmul_rate(precision: str, width: int, rounds: int) -> Spread:
    """Returns the operations per second that all devices together reach in products of matrices."""
    named, mesh = get_precision(precision), local_mesh()

    def multiply(a: Array, b: Array) -> Array:
        return jnp.matmul(a, b, precision=jax.lax.Precision[named.products])

    product = map_over_devices(multiply, mesh, replicated=(False, False))
    keys = jax.random.split(jax.random.key(0))
    shape = (mesh.size * width, width)
    factors = [put_rows(jax.random.normal(key, shape).astype(named.dtype), mesh) for key in keys]
    product(*factors).block_until_ready()
    run = {f"{precision} product": lambda: time_call(lambda: product(*factors).block_until_ready())}
    return alternate(run, rounds)[f"{precision} product"].map(
        lambda s: 2 * mesh.size * width**3 / s
    )
