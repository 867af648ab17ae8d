"""Pictures that are drawn where none are given: a shaded ground with grain, as PNG or JPEG."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

JPEG_QUALITY = 90


def draw_picture(rng: np.random.Generator, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns one picture; its grain makes it as dear to decode as a photograph."""
    ground = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    shaded = ground.resize((width, height), Image.Resampling.BICUBIC)
    grainy = np.asarray(shaded) + rng.normal(0, 6, (height, width, 3))
    return grainy.clip(0, 255).astype(np.uint8)


def draw_pictures(count: int, side_px: int, *, seed: int) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
    """Gives so many square pictures, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    return (draw_picture(rng, side_px, side_px) for _ in range(count))


def encode(picture: UInt8[np.ndarray, "h w 3"], kind: str) -> bytes:
    """Returns the picture as a file of that kind, `png` or `jpeg`."""
    file = io.BytesIO()
    Image.fromarray(picture).save(
        file, kind, **({"quality": JPEG_QUALITY} if kind == "jpeg" else {})
    )
    return file.getvalue()


def write_folder(folder: Path, pictures: Iterable[np.ndarray], kind: str) -> Path:
    """Writes the pictures into a new folder, numbered in order, and returns it."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        (folder / f"{number:06d}.{kind}").write_bytes(encode(picture, kind))
    return folder


def write_zip(path: Path, pictures: Iterable[np.ndarray], kind: str) -> Path:
    """Writes the pictures into a zip file, numbered in order, and returns its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, picture in enumerate(pictures):
            archive.writestr(f"{number:06d}.{kind}", encode(picture, kind))
    return path
