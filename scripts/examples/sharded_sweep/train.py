"""Trains the transformer on all devices and writes Orbax checkpoints with two averages of it each.

python train.py CHECKPOINTS --save-at 200,800
"""

import argparse
from pathlib import Path

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import transformer
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array
from shapes import draw_shapes

EMAS = (0.9, 0.99)
BATCH_SIZE = 64


def main() -> None:
    """Trains and saves at the steps that were asked for."""
    options = parse_options()
    mesh = transformer.make_mesh()
    params = transformer.init(options.seed, mesh)
    averages = {ema: params for ema in EMAS}
    last = max(options.save_at)
    optimiser = optax.adam(optax.warmup_cosine_decay_schedule(0, 3e-3, last // 16, last))
    state = optimiser.init(params)  # laid over the devices as the parameters are

    @jax.jit
    def train_step(
        params: transformer.State,
        averages: dict[float, transformer.State],
        state: optax.OptState,
        key: Array,
        images: transformer.Images,
        labels: Array,
    ) -> tuple[transformer.State, dict[float, transformer.State], optax.OptState, Array]:
        loss, grads = jax.value_and_grad(transformer.loss)(params, images, labels, key)
        updates, state = optimiser.update(grads, state)
        params = optax.apply_updates(params, updates)
        averages = {
            ema: optax.incremental_update(params, average, 1 - ema)
            for ema, average in averages.items()
        }
        return params, averages, state, loss

    rng = np.random.default_rng(options.seed)
    over_devices = NamedSharding(mesh, P(transformer.AXIS))
    root = jax.random.key(options.seed)
    with ocp.CheckpointManager(Path(options.checkpoints).absolute()) as manager:
        for step in range(1, last + 1):
            labels = rng.integers(0, transformer.NUM_CLASSES, BATCH_SIZE)
            batch = jax.device_put((draw_shapes(labels, rng), labels), over_devices)
            params, averages, state, loss = train_step(
                params, averages, state, jax.random.fold_in(root, step), *batch
            )
            if step in options.save_at:
                items = {f"ema_{ema:g}": ocp.args.StandardSave(averages[ema]) for ema in EMAS}
                manager.save(step, args=ocp.args.Composite(**items))
                print(f"step {step}: loss {loss:.3f}", flush=True)


def parse_options() -> argparse.Namespace:
    """Returns what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", help="folder for Orbax")
    parser.add_argument("--save-at", type=_steps, default=[200, 800], metavar="STEPS")
    parser.add_argument("--seed", type=int, default=0, help="of another training of the same model")
    return parser.parse_args()


def _steps(text: str) -> list[int]:
    return [int(step) for step in text.split(",")]


if __name__ == "__main__":
    main()
