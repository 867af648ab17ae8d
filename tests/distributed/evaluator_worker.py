"""One process of several in a training loop: `evaluator_worker.py INDEX COUNT PORT`.

What it found goes to stdout as one line of JSON.
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxfid
from jaxfid.evaluator import Evaluator
from jaxfid.stats.files import Stats
from jaxfid.storage.digests import digest_arrays

WIDTH, NUM_IMAGES, SIZE_PX = 6, 48, 8
DEVICES = 2


def make_extractor() -> jaxfid.Extractor:
    protocol = jaxfid.Protocol("small_8", "tf1_bilinear", 128.0, 128.0, "for tests", SIZE_PX)
    kernel = np.random.default_rng(2).standard_normal((SIZE_PX * SIZE_PX * 3, WIDTH))

    def apply(params, images):
        flat = images.reshape(len(images), -1)
        return jnp.tanh(jnp.matmul(flat, params, precision="highest") / 10)

    return jaxfid.Extractor("small", protocol, WIDTH, kernel.astype(np.float32), apply)


def make_images() -> np.ndarray:
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (NUM_IMAGES, 1, 1, 3))
    return (colours + rng.integers(-40, 40, (NUM_IMAGES, 12, 12, 3))).astype(np.uint8)


def make_reference() -> Stats:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((50, WIDTH)) / 3
    return Stats(rows.mean(0), np.cov(rows.T), 50, None)


def make_evaluator(**options) -> Evaluator:
    return Evaluator(make_reference(), extractor=make_extractor(), **options)


def add(evaluator, state, images):
    return evaluator.update(state, images)


class Loop:
    """What a training loop does with the images of all processes; each method gives a state or an error."""

    def __init__(self, index: int, count: int) -> None:
        self.evaluator = make_evaluator()
        self.images = make_images()
        self.mine = np.split(self.images, count)[index]
        self.devices = np.array(jax.devices())

    def local(self):
        return jax.jit(add)(self.evaluator, self.evaluator.init(), self.mine)

    def merged(self):
        return self.evaluator.merge(self.local())

    def whole(self, mesh, spec):
        sharding = NamedSharding(mesh, spec)
        # Each process gives the rows that its devices hold, whatever the mesh is.
        return jax.make_array_from_callback(
            self.images.shape, sharding, lambda place: self.images[place]
        )

    def on_mesh(self, shape, names, spec, kind=AxisType.Auto):
        mesh = Mesh(self.devices.reshape(shape), names, axis_types=(kind,) * len(names))
        everywhere = NamedSharding(mesh, P())
        evaluator = jax.device_put(self.evaluator, everywhere)
        state = jax.device_put(evaluator.init(), everywhere)
        return evaluator, state, self.whole(mesh, spec), mesh

    def from_local_data(self):
        mesh = Mesh(self.devices, ("data",))
        images = jax.make_array_from_process_local_data(NamedSharding(mesh, P("data")), self.mine)
        return jax.jit(add)(self.evaluator, self.evaluator.init(), images)

    def eager(self):
        evaluator, state, images, _ = self.on_mesh((-1,), ("data",), P("data"))
        return add(evaluator, state, images)

    def explicit(self):
        evaluator, state, images, _ = self.on_mesh((-1,), ("data",), P("data"), AxisType.Explicit)
        return jax.jit(add, donate_argnums=1)(evaluator, state, images)

    def fsdp(self):
        """Rows over both axes, weights over one."""
        spec = P(("data", "model"))
        evaluator, state, images, mesh = self.on_mesh((-1, 2), ("data", "model"), spec)
        over_model = NamedSharding(mesh, P("model"))

        def shard(leaf):
            return jax.device_put(leaf, over_model) if leaf.ndim and len(leaf) % 2 == 0 else leaf

        with jax.enable_x64(True):
            evaluator, state = jax.tree.map(shard, (evaluator, state))
        return jax.jit(add)(evaluator, state, images)

    def by_device(self):
        """A state for each device, along a leading axis that is laid over all of them."""
        evaluator, _, images, mesh = self.on_mesh((-1,), ("data",), P("data"))

        @jax.jit
        @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))
        def run(evaluator, images):
            state = add(evaluator, evaluator.init(), images)
            return jax.tree.map(lambda leaf: leaf[None], state)

        return run(evaluator, images)

    def on_the_host(self):
        """As on a TPU, from features that are laid over all processes."""
        evaluator, _, images, mesh = self.on_mesh((-1,), ("data",), P("data"))
        host = make_evaluator(sums="host")
        features = jax.jit(lambda evaluator, images: evaluator.features(images))(evaluator, images)
        mask = jax.device_put(np.ones(len(self.images), bool), NamedSharding(mesh, P()))
        return host.update_from_features(host.init(), features, mask)

    def added_after_merging(self):
        return self.evaluator.update(self.merged(), self.mine)


GLOBAL = ("from_local_data", "eager", "explicit", "fsdp", "by_device", "on_the_host")


def describe(evaluator, state, **options) -> dict:
    try:
        scored = evaluator.compute(state, **options)
    except jaxfid.InputError as error:
        return {"error": str(error)}
    metric = scored.metrics["fd_small"]
    return {"value": metric.value, "stderr": metric.stderr, "num_images": scored.num_images}


def digest(state) -> str:
    return digest_arrays({str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state))})


def run(index: int, count: int) -> dict:
    loop = Loop(index, count)
    found = {"apart": describe(loop.evaluator, loop.local())}
    jaxfid.initialize_distributed(timeout_s=20)
    evaluator, local = loop.evaluator, loop.local()
    found |= {over: describe(evaluator, local, over=over) for over in ("auto", "all", "this")}
    merged = evaluator.merge(local)
    found["merged"] = describe(evaluator, merged)
    found["digest"] = [digest(merged), digest(evaluator.merge(merged))]
    with jax.enable_x64(True):
        found["digest"].append(digest(evaluator.merge(local)))
    found["dtype"] = merged.moments.outer.dtype.name
    found["again"] = describe(evaluator, loop.added_after_merging())
    found |= {name: describe(evaluator, getattr(loop, name)()) for name in GLOBAL}
    found["divided"] = describe(evaluator, loop.by_device(), over="this")
    return found


if __name__ == "__main__":
    INDEX, COUNT, PORT = map(int, sys.argv[1:])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    jax.distributed.initialize(f"127.0.0.1:{PORT}", COUNT, INDEX)
    print(json.dumps(run(INDEX, COUNT)), flush=True)
