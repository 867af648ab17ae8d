"""Decode alone, network alone, and both together: what is decoded while the network computes costs nothing.

End to end must reach 90 % of the slower of the two, for small PNG, 256-pixel PNG and JPEG, and photographs
of mixed sizes. All run in this process on the same files; the network alone is fed decoded batches.

    .venv/bin/python scripts/bench/overlap.py --photos DIR

About 5 minutes at the defaults on two cores, where the network is the slower by far; on a GPU raise --count.
"""

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8
from lib.drawn import draw_picture, write_folder
from lib.measure import alternate, make_parser, time_call
from lib.pipeline import Pipeline, make_inception, start_jax
from lib.report import Report, Row
from PIL import Image

from jaxfid import open_source

FEATURE = "2048"
TOLERANCE = 1e-12
"""Of the largest entry: float64 sums over the same features, whichever way they came."""
GOAL = 0.9
DRAWN_SIDES_PX = (200, 700)


def _make_sets(folder: Path, photos: Path | None, count: int) -> dict[str, Path]:
    """Writes a folder of each kind; photographs are taken as they are, the others made of them."""
    mixed = folder / "photographs"
    if photos is None:
        write_folder(mixed, _draw_mixed(count), "jpeg")
    else:
        files = sorted(p for p in photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
        mixed.mkdir()
        for number, file in enumerate(itertools.islice(itertools.cycle(files), count)):
            shutil.copyfile(file, mixed / f"{number:06d}.jpeg")
    kinds = ((32, "png"), (256, "png"), (256, "jpeg"))
    made = {
        f"{side} px {kind.upper()}": write_folder(
            folder / f"{side}-{kind}", _read_squares(mixed, side), kind
        )
        for side, kind in kinds
    }
    return {**made, "photographs, JPEG": mixed}


def _draw_mixed(count: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    rng = np.random.default_rng(0)
    return (draw_picture(rng, *rng.integers(*DRAWN_SIDES_PX, 2)) for _ in range(count))


def _read_squares(folder: Path, side: int) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
    source = open_source(folder)
    for index in range(len(source)):
        picture = Image.fromarray(source.read(index))
        yield np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))


def _compare(name: str, folder: Path, pipeline: Pipeline, options: argparse.Namespace) -> Row:
    """Returns one kind's rates, after it was seen that both ways to the sums give the same."""
    source = open_source(folder)
    decoded = list(pipeline.decode(source))
    expected = pipeline.stats(source).cov
    apart = np.abs(pipeline.sums(decoded).cov() - expected).max() / np.abs(expected).max()
    options.report.check(f"{name}: covariance by both ways, relative", apart, TOLERANCE)
    sides = {
        "decode alone": lambda: time_call(
            lambda: sum(len(b.mask) for b in pipeline.decode(source))
        ),
        "network alone": lambda: time_call(lambda: pipeline.sums(decoded)),
        "end to end": lambda: time_call(lambda: pipeline.stats(source)),
    }
    found = alternate(sides, options.rounds)
    rates = {side: s.map(lambda seconds: len(source) / seconds) for side, s in found.items()}
    slower = min(rates["decode alone"].median, rates["network alone"].median)
    return {"images": name, **rates, "of the slower": round(rates["end to end"].median / slower, 4)}


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of JPEG photographs (default: drawn)")
    parser.add_argument("--weights", default="untrained", help="%(default)s; rates are the same")
    parser.add_argument("--protocol", default="legacy_tensorflow")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--count", type=int, default=128, help="images of each kind (%(default)s)")
    parser.add_argument("--batch-size", type=int, help="default: as jaxfid chooses for the devices")
    parser.add_argument("--num-workers", type=int, help="default: one for each core")
    options = parser.parse_args()
    options.report = report = Report(options)
    start_jax()
    device = jax.devices()[0]
    report.note(f"device: {jax.device_count()} x {device.device_kind}, {options.precision}")
    extractor = make_inception(
        options.weights, options.protocol, FEATURE, precision=options.precision
    )
    pipeline = Pipeline(
        extractor,
        batch_size=options.batch_size,
        largest=options.count,
        num_workers=options.num_workers,
    )
    with tempfile.TemporaryDirectory() as folder:
        sets = _make_sets(Path(folder), options.photos, options.count)
        rows = [_compare(name, path, pipeline, options) for name, path in sets.items()]
    report.table(f"Images per second, batches of {pipeline.batch_size}", rows)
    for row in rows:
        reached = float(str(row["of the slower"]))
        report.goal(f"{row['images']}: end to end / the slower", reached, GOAL)
    report.save()


if __name__ == "__main__":
    main()
