"""Decoding alone: files to batches, without a network, against a bare loop of Pillow.

The first table is of this machine's cores: images per second from folder, zip and tar, and the share of what
the bare loop would give on as many cores, by the clock and by CPU time. Images of 1024 pixels are reduced to
the network's size as well, which the bare loop does not do.

The second is of workers beyond the cores: each image takes 5 ms in which Python's lock is free, so that what
is missing from the ideal is what is done under the lock. The third says how much that is: CPU time for images
of one pixel, where nothing else is left, and the images per second at which one process is full.

    .venv/bin/python scripts/bench/decode.py

About 3 minutes on two cores.
"""

import argparse
import functools
import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from lib.drawn import draw_pictures, encode, write_folder, write_zip
from lib.measure import Spread, alternate, make_parser, time_call
from lib.report import Report, Row
from PIL import Image

from jaxfid import open_source
from jaxfid.extraction.decoding import prepare_image
from jaxfid.images.batches import Batch, Batches
from jaxfid.images.cores import count_usable_cores
from jaxfid.images.interface import ImageSource
from jaxfid.preprocessing.protocol import LEGACY_TENSORFLOW

BATCH_SIZE = 64
GOAL = 0.9
KINDS = ((32, "png"), (256, "png"), (256, "jpeg"), (1024, "jpeg"))
SLEEP_S = 0.005
WORKERS = (1, 2, 4, 8, 16)
H100_IMAGES_PER_S = 28_000
"""What an H100 is expected to take in bfloat16; not measured."""


class Sleeping(Sequence):
    """Small images, each of which takes a while in which others can run."""

    def __init__(self, count: int) -> None:
        self._count, self._image = count, np.zeros((32, 32, 3), np.uint8)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "32 32 3"]:
        time.sleep(SLEEP_S)
        return self._image


class Side:
    """Something that is timed by the clock and, for a machine that others use too, by its own CPU time."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function, self._cpu_s = function, []

    def __call__(self) -> float:
        """Runs it and returns the seconds of the clock."""
        start = time.process_time()
        seconds = time_call(self._function)
        self._cpu_s.append(time.process_time() - start)
        return seconds

    @property
    def cpu(self) -> Spread:
        """CPU seconds of its runs, in all threads."""
        return Spread(tuple(self._cpu_s))


def write_tar(path: Path, files: Sequence[bytes], kind: str) -> Path:
    """Writes the files into a tar file, numbered in order, and returns its path."""
    with tarfile.open(path, "w") as archive:
        for number, data in enumerate(files):
            info = tarfile.TarInfo(f"{number:06d}.{kind}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_batches(source: ImageSource, num_workers: int) -> Iterator[Batch]:
    """Returns the batches that a pass would take."""
    prepare = functools.partial(prepare_image, protocol=LEGACY_TENSORFLOW)
    batches = Batches(source, batch_size=BATCH_SIZE, num_workers=num_workers, prepare=prepare)
    return iter(batches)


def _count(batches: Iterator[Batch]) -> int:
    return sum(int(batch.mask.sum()) for batch in batches)


def _loop(files: Sequence[bytes]) -> None:
    for data in files:
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _compare(folder: Path, side: int, kind: str, options: argparse.Namespace) -> list[Row]:
    """Returns the rows of one kind of images, for each place that they are read from."""
    cores = count_usable_cores()
    count = max(16, options.count // max(1, (side // 128) ** 2))
    pictures = list(draw_pictures(count, side, seed=0))
    files = [encode(picture, kind) for picture in pictures]
    name = f"{side}-{kind}"
    sources = {
        "folder": open_source(write_folder(folder / name, pictures, kind)),
        "zip": open_source(write_zip(folder / f"{name}.zip", pictures, kind)),
        "tar": open_source(write_tar(folder / f"{name}.tar", files, kind)),
    }
    for place, source in sources.items():
        missing = count - _count(make_batches(source, cores))
        options.report.check(f"{name} in a {place}: images missing", missing, 0)
    sides = {"bare": Side(lambda: _loop(files))}
    for place, source in sources.items():
        sides[place] = Side(lambda s=source: _count(make_batches(s, cores)))
    found = alternate(sides, options.rounds)
    ideal, bare = cores * count / found["bare"].median, sides["bare"].cpu
    return [
        {
            "images": f"{side} px {kind.upper()}",
            "from": place,
            "images/s": found[place].map(lambda s: count / s),
            "bare loop x cores": round(ideal),
            "share": round(count / found[place].median / ideal, 3),
            "CPU us": sides[place].cpu.map(lambda s: 1e6 * s / count),
            "bare, CPU us": bare.map(lambda s: 1e6 * s / count),
            "share by CPU time": round(bare.median / sides[place].cpu.median, 3),
        }
        for place in sources
    ]


def _simulate(num_workers: int, rounds: int) -> Row:
    """Returns what so many workers reach where an image is mostly waited for."""
    count = 2 * BATCH_SIZE * num_workers
    source = open_source(Sleeping(count))
    runs = [time_call(lambda: _count(make_batches(source, num_workers))) for _ in range(rounds)]
    ideal = num_workers / SLEEP_S
    rate = Spread(tuple(runs)).map(lambda s: count / s)
    return {
        "workers": num_workers,
        "images/s": rate,
        "ideal": ideal,
        "share": round(rate.median / ideal, 3),
    }


def _measure_lock(folder: Path, kind: str, options: argparse.Namespace) -> list[Row]:
    """Returns the CPU time of an image of one pixel, by where it is read from."""
    pictures = list(draw_pictures(options.count, 1, seed=0))
    places = {
        "folder": write_folder(folder / f"one-{kind}", pictures, kind),
        "zip": write_zip(folder / f"one-{kind}.zip", pictures, kind),
    }
    rows = []
    for place, path in places.items():
        source, runs = open_source(path), []
        for _ in range(options.rounds):
            start = time.process_time()
            _count(make_batches(source, 0))
            runs.append((time.process_time() - start) / options.count)
        spent = Spread(tuple(runs))
        rows.append(
            {
                "files": kind.upper(),
                "from": place,
                "us under the lock": spent.map(lambda s: 1e6 * s),
                "one process feeds, images/s": round(1 / spent.median),
                "of an H100 in bfloat16": round(1 / spent.median / H100_IMAGES_PER_S, 2),
            }
        )
    return rows


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--count", type=int, default=512, help="small images (%(default)s)")
    options = parser.parse_args()
    options.report = report = Report(options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [row for kind in KINDS for row in _compare(folder, *kind, options)]
        locked = [row for kind in ("png", "jpeg") for row in _measure_lock(folder, kind, options)]
    report.table(f"Images per second with {count_usable_cores()} workers", rows)
    report.table(
        f"Workers that wait {1000 * SLEEP_S:.0f} ms for each image",
        [_simulate(n, options.rounds) for n in WORKERS],
    )
    report.table("What threads cannot divide", locked)
    for row in rows:
        share = float(str(row["share by CPU time"]))
        report.goal(f"{row['images']} from {row['from']}: share by CPU time", share, GOAL)
    report.save()


if __name__ == "__main__":
    main()
