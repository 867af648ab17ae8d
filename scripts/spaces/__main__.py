"""Prints the table of docs/which-number.md: one pair of sets under every feature space and input rule.

Weights are random, so that no file is needed: the numbers mean nothing, but they show that space and rule are
part of every number, and that every metric of vectors works in every space.

    .venv/bin/python scripts/spaces --count 24

Two cores take about an hour for 24 images a side; the giant DINOv2 is left out (4.5 GB).
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from lib.drawn import draw_pictures
from lib.pipeline import start_jax

from jaxfid.evaluate import compute_metrics
from jaxfid.extractors.registry import EXTRACTORS

SIDE_PX = 128
METRICS = ("fd", "kd", "precision", "recall", "mind")
LEFT_OUT = {"dinov2_vitg14", "torchvision", "keras"}


def choices() -> Iterator[tuple[str, str]]:
    """Yields every network with each of its input rules."""
    for name, spec in EXTRACTORS.items():
        if name not in LEFT_OUT:
            yield from ((name, rule) for rule in spec.protocols)


def make_row(name: str, rule: str, sets: tuple[np.ndarray, np.ndarray]) -> str:
    """Returns a row of the table."""
    reference, generated = sets
    result = compute_metrics(
        reference, [generated], extractor=name, protocol=rule, weights="untrained", metrics=METRICS
    )
    values = list(result.results[0].metrics.values())
    shown = " | ".join("none" if v.value is None else f"{v.value:.4g}" for v in values)
    return f"| `{name}` | `{rule}` | {shown} |"


def main() -> None:
    """Prints the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=24, help="images a side (%(default)s)")
    parser.add_argument("--extractors", nargs="+", choices=sorted(EXTRACTORS), help="default: all")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # random weights of few images: said in the docs once
    start_jax()
    real = np.stack(list(draw_pictures(options.count, SIDE_PX, seed=0)))
    noise = np.random.default_rng(1).normal(0, 16, real.shape)
    other = np.stack(list(draw_pictures(options.count, SIDE_PX, seed=1)))
    drawn = np.clip(other + noise, 0, 255).astype(np.uint8)
    print(f"| extractor | input rule | {' | '.join(METRICS)} |")
    print("|---" * (2 + len(METRICS)) + "|", flush=True)
    for name, rule in choices():
        if options.extractors is None or name in options.extractors:
            print(make_row(name, rule, (real, drawn)), flush=True)


if __name__ == "__main__":
    main()
