"""The command `demo`: the main job on pictures that are drawn here. The score grows with the disturbance.

The disturbances are those of the figure with which Heusel et al. (2017, https://arxiv.org/abs/1706.08500)
introduced the FID.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from scipy import ndimage

from jaxfid.cli.options import start_jax
from jaxfid.cli.output import print_line
from jaxfid.errors import JaxfidError, WeightsUnavailableError
from jaxfid.evaluate import compute_metrics
from jaxfid.extractors.weights import load_weights
from jaxfid.images.arrays import ArraySource
from jaxfid.result import SetResult

SIDE_PX = 64
NUM_REFERENCE, NUM_DISTURBED = 256, 64
STRENGTHS = (1, 2, 3)

Pictures = UInt8[np.ndarray, "n h w 3"]
Case = tuple[str, int]
UNDISTURBED: Case = ("undisturbed", 0)


def draw_pictures(count: int, rng: np.random.Generator) -> Pictures:
    """Returns pictures of a shaded ground with a few coloured shapes."""
    return np.stack([_draw_picture(rng) for _ in range(count)])


def _draw_picture(rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    corners = rng.integers(40, 216, (2, 2, 3), dtype=np.uint8)
    picture = Image.fromarray(corners).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.integers(3, 7)):
        x, y = rng.integers(0, SIDE_PX - 12, 2)
        box = (x, y, x + rng.integers(8, 32), y + rng.integers(8, 32))
        shape = (pen.ellipse, pen.rectangle)[rng.integers(2)]
        shape([int(v) for v in box], fill=tuple(rng.integers(0, 256, 3).tolist()))
    return np.asarray(picture)


def add_noise(pictures: Pictures, strength: int, rng: np.random.Generator) -> Pictures:
    """Returns the pictures with Gaussian noise of 20 grey levels times the strength."""
    noisy = pictures + rng.normal(0, 20 * strength, pictures.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def blur(pictures: Pictures, strength: int, rng: np.random.Generator) -> Pictures:
    """Returns the pictures blurred by a Gaussian of one pixel times the strength."""
    return ndimage.gaussian_filter(pictures, (0, strength, strength, 0))


def add_rectangles(pictures: Pictures, strength: int, rng: np.random.Generator) -> Pictures:
    """Returns the pictures with five black squares of an eighth of the side times the strength."""
    covered, side = pictures.copy(), SIDE_PX * strength // 8
    for picture in covered:
        for x, y in rng.integers(0, SIDE_PX - side, (5, 2)):
            picture[y : y + side, x : x + side] = 0
    return covered


def add_salt_and_pepper(pictures: Pictures, strength: int, rng: np.random.Generator) -> Pictures:
    """Returns the pictures with 5 % of the pixels, times the strength, black or white."""
    struck = rng.random(pictures.shape[:3]) < 0.05 * strength
    colour = rng.choice(np.array([0, 255], np.uint8), pictures.shape[:3])
    return np.where(struck[..., None], colour[..., None], pictures)


DISTURBANCES: Mapping[str, Callable[[Pictures, int, np.random.Generator], Pictures]] = {
    "Gaussian noise": add_noise,
    "Gaussian blur": blur,
    "black rectangles": add_rectangles,
    "salt and pepper": add_salt_and_pepper,
}


def run_demo(*, weights: str | Path, figure: Path, progress: bool = False) -> None:
    """Scores the disturbed pictures against drawn ones, prints the table and writes the figure as PNG.

    Args:
      weights: As in `Settings`. If they cannot be had, untrained ones are used, and the output says so.
      figure: Where the PNG goes.
      progress: Show on stderr how far the work is.

    Raises:
      JaxfidError: A score did not grow with its disturbance.
    """
    weights, caution = _choose_weights(weights)
    print_line(caution or "FID of disturbed pictures against undisturbed ones.")
    # Seeded, so that everyone sees the same table under the same weights.
    rng = np.random.default_rng(0)
    reference = ArraySource(draw_pictures(NUM_REFERENCE, rng), name="reference")
    sets = _disturbed_sets(draw_pictures(NUM_DISTURBED, rng), rng)
    sources = [
        ArraySource(pictures, name=f"{name} {strength}")
        for (name, strength), pictures in sets.items()
    ]
    result = compute_metrics(reference, sources, weights=weights, progress=progress)
    scores = dict(zip(sets, map(_require_value, result.results), strict=True))
    print_line(make_table(scores))
    draw_figure(
        scores, sets, figure, "Frechet distance of untrained features" if caution else "FID"
    )
    print_line(f"Each set has {NUM_DISTURBED} pictures: compare these values with each other only.")
    print_line(f"Figure: {figure}")
    # After the table, so that a failure comes with the scores it is about.
    require_growth(scores)
    # Again, because the first line may have left the screen.
    print_line(caution or "Every score grows with its disturbance.")


def _require_value(scored: SetResult) -> float:
    found = scored.metrics["fid"]
    if found.value is None:
        raise JaxfidError(f"{scored.generated}: {found.reason}")
    return found.value


def _choose_weights(weights: str | Path) -> tuple[str | Path, str | None]:
    """The weights to use, and what has to be said of them first and last."""
    try:
        loaded = load_weights(weights)
    except WeightsUnavailableError:
        loaded, weights = load_weights("untrained"), "untrained"
    if loaded.official:
        return weights, None
    return (
        weights,
        f"The weights are {loaded.name}, not the official ones: these values are NO FIDs.",
    )


def _disturbed_sets(pictures: Pictures, rng: np.random.Generator) -> dict[Case, Pictures]:
    disturbed = {
        (name, strength): disturb(pictures, strength, rng)
        for name, disturb in DISTURBANCES.items()
        for strength in STRENGTHS
    }
    return {UNDISTURBED: pictures, **disturbed}


def _curve(scores: Mapping[Case, float], name: str) -> list[float]:
    """The scores of one disturbance from strength 0 up."""
    return [scores[UNDISTURBED], *(scores[name, strength] for strength in STRENGTHS)]


def make_table(scores: Mapping[Case, float]) -> str:
    """Returns a line per disturbance, a column per strength."""
    heads = "".join(f"{strength:>10}" for strength in (0, *STRENGTHS))
    lines = [f"{'strength':<18}{heads}"]
    for name in DISTURBANCES:
        values = "".join(f"{value:>10.2f}" for value in _curve(scores, name))
        lines.append(f"{name:<18}{values}")
    return "\n".join(lines)


def require_growth(scores: Mapping[Case, float]) -> None:
    """Passes where every score grows with its disturbance.

    Raises:
      JaxfidError: Names those that do not.
    """
    falls = [name for name in DISTURBANCES if not (np.diff(_curve(scores, name)) > 0).all()]
    if falls:
        raise JaxfidError(f"the score does not grow with the disturbance: {', '.join(falls)}")


def draw_figure(
    scores: Mapping[Case, float], sets: Mapping[Case, Pictures], path: Path, label: str
) -> None:
    """Writes a PNG with a column per disturbance: a picture at every strength, and the scores below."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    axes = figure.subplots(2, len(DISTURBANCES), height_ratios=(1, 2.2), squeeze=False)
    for (strip, curve), name in zip(axes.T, DISTURBANCES, strict=True):
        cases = [UNDISTURBED, *((name, strength) for strength in STRENGTHS)]
        strip.imshow(np.concatenate([sets[case][0] for case in cases], axis=1))
        strip.set_title(name)
        strip.set_axis_off()
        curve.plot(range(len(cases)), _curve(scores, name), marker="o")
        curve.set(
            xlabel="strength", xticks=range(len(cases)), ylim=(0, 1.05 * max(scores.values()))
        )
        curve.grid(alpha=0.3)
    axes[1, 0].set_ylabel(label)
    figure.savefig(path, dpi=120)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `demo`."""
    parser.add_argument(
        "--out",
        default="jaxfid-demo.png",
        type=Path,
        metavar="PNG",
        help="where the figure goes (default %(default)s)",
    )
    parser.add_argument(
        "--weights",
        default="auto",
        metavar="auto|untrained|PATH",
        help="the network's weights (default %(default)s, untrained where they cannot be had)",
    )


def run(options: argparse.Namespace) -> None:
    """Runs `demo`."""
    start_jax()
    run_demo(weights=options.weights, figure=options.out, progress=True)
