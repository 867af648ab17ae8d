"""Lowers the FID of a few images by gradient steps on their pixels.

    python scripts/examples/fid_gradient.py REFERENCE --dims 64

What comes out has the reference's mean and some of its covariance in the network's eyes and looks like
noise still: an objective that a generator is trained on no longer says how good it is.
"""

import argparse
from collections.abc import Iterator

import jax
import jax.numpy as jnp

import jaxfid


def lower_fid(
    evaluator: jaxfid.Evaluator,
    reference: jaxfid.Stats,
    images: jax.Array,
    *,
    steps: int,
    step_size: float = 0.1,
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Yields images and their distance from the reference, before each step and after the last.

    Args:
      evaluator: Of images in 0..1.
      reference: What to come near.
      images: To begin with.
      steps: How many.
      step_size: Root mean square of a step, in logits of the pixels.
    """
    factor = jaxfid.prepare_reference(reference.mean, reference.cov)

    def distance(logits: jax.Array, evaluator: jaxfid.Evaluator) -> jax.Array:
        return jaxfid.frechet_objective(evaluator.features(jax.nn.sigmoid(logits)), factor)

    @jax.jit
    def descend(logits: jax.Array, evaluator: jaxfid.Evaluator) -> tuple[jax.Array, jax.Array]:
        value, slope = jax.value_and_grad(distance)(logits, evaluator)
        return value, logits - step_size * slope / jnp.sqrt(jnp.mean(jnp.square(slope)))

    logits = jax.scipy.special.logit(images.clip(0.01, 0.99))
    for _ in range(steps + 1):
        value, moved = descend(logits, evaluator)
        yield jax.nn.sigmoid(logits), value
        logits = moved


def main(arguments: list[str] | None = None) -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(
        description="Lowers the FID of a few images by gradient steps."
    )
    parser.add_argument("reference", help="images or a statistics file")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--dims", type=int, default=2048)
    parser.add_argument("--num-images", type=int, default=32)
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args(arguments)
    settings = {"weights": options.weights, "dims": options.dims}

    reference = jaxfid.compute_stats(options.reference, **settings)
    evaluator = jaxfid.Evaluator(reference, value_range=(0, 1), **settings)
    shape = (options.num_images, options.side, options.side, 3)
    noise = jax.random.uniform(jax.random.key(0), shape)
    images = noise
    for step, (reached, value) in enumerate(
        lower_fid(evaluator, reference, noise, steps=options.steps)
    ):
        print(f"step {step:4d}: {value:.6g}")
        images = reached
    print(evaluator.compute(evaluator.update(evaluator.init(), images), name="the last images"))


if __name__ == "__main__":
    main()
