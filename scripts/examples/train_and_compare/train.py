"""Trains the model on a TFDS data set and writes Orbax checkpoints.

python train.py tfds:pictures/train CHECKPOINTS --save-at 50,200,800
"""

import argparse
from pathlib import Path

import flow
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jaxtyping import Array, Float

import jaxfid

CHUNK_SIZE = 100  # as `jaxfid compare` draws: the same noise, and so the same images


def load_images(name: str) -> Float[np.ndarray, "n 32 32 3"]:
    """Returns every image of a source in -1..1."""
    source = jaxfid.open_source(name)
    pixels = np.stack([source.read(index) for index in range(len(source))])
    return pixels.astype(np.float32) / 127.5 - 1


def score(evaluator: jaxfid.Evaluator, params: flow.Params, num_images: int) -> jaxfid.SetResult:
    """Returns the scores of images drawn now, inside the training."""
    state = evaluator.init()
    update = jax.jit(lambda evaluator, state, images: evaluator.update(state, images))
    for chunk in range(num_images // CHUNK_SIZE):
        key = jax.random.fold_in(jax.random.key(0), chunk)
        state = update(evaluator, state, flow.draw(params, key, CHUNK_SIZE))
    return evaluator.compute(state)


def main() -> None:
    """Trains, saves and, if asked to, scores at the steps that were asked for."""
    options = parse_options()
    images = load_images(options.images)
    # By "rbg", because the default generator takes CPUs four times as long to compile.
    params = averaged = jax.jit(flow.init)(jax.random.key(2 * options.seed + 1, impl="rbg"))
    last = max(options.save_at)
    optimiser = optax.adam(optax.warmup_cosine_decay_schedule(0, 2e-3, last // 10, last))
    state = optimiser.init(params)
    evaluator = None
    if options.score:
        settings = {"weights": options.weights, "dims": options.dims}
        evaluator = jaxfid.Evaluator(options.images, value_range=(-1, 1), **settings)

    @jax.jit
    def train_step(
        params: flow.Params, averaged: flow.Params, state: optax.OptState, key: Array, batch: Array
    ) -> tuple[flow.Params, flow.Params, optax.OptState, Array]:
        loss, grads = jax.value_and_grad(flow.loss)(params, batch, key)
        updates, state = optimiser.update(grads, state)
        params = optax.apply_updates(params, updates)
        return params, optax.incremental_update(params, averaged, 0.03), state, loss

    rng = np.random.default_rng(options.seed)
    with ocp.CheckpointManager(Path(options.checkpoints).absolute()) as manager:
        for step in range(1, last + 1):
            batch = images[rng.integers(0, len(images), options.batch_size)]
            batch = np.where(rng.random((len(batch), 1, 1, 1)) < 0.5, batch, batch[:, :, ::-1])
            key = jax.random.fold_in(jax.random.key(2 * options.seed + 2), step)
            params, averaged, state, loss = train_step(
                params, averaged, state, key, jnp.asarray(batch)
            )
            if step in options.save_at:
                manager.save(step, args=ocp.args.StandardSave(averaged))
                found = (
                    "" if evaluator is None else f", {score(evaluator, averaged, options.score)}"
                )
                print(f"step {step}: loss {loss:.3f}{found}", flush=True)


def parse_options() -> argparse.Namespace:
    """Returns what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="such as tfds:pictures/train")
    parser.add_argument("checkpoints", help="folder for Orbax")
    parser.add_argument("--save-at", type=_steps, default=[25, 100, 300, 800], metavar="STEPS")
    parser.add_argument("--seed", type=int, default=0, help="of another training of the same model")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--score", type=int, default=0, metavar="N", help="images drawn at each save"
    )
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--dims", type=int, default=2048)
    return parser.parse_args()


def _steps(text: str) -> list[int]:
    return [int(step) for step in text.split(",")]


if __name__ == "__main__":
    main()
