"""Small image files for the tests of sources."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from jaxfid.images.interface import ImageSource


def make_images(count: int, height: int = 5, width: int = 7) -> np.ndarray:
    """Random images; equal seeds give equal images, so that sources can be compared."""
    shape = (count, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def read_all(source: ImageSource) -> list[np.ndarray]:
    return [source.read(index) for index in range(len(source))]


def encode_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def make_files(keys: list[str]) -> dict[str, bytes]:
    """One PNG per key, each with other pixels."""
    return dict(zip(keys, map(encode_png, make_images(len(keys))), strict=True))


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for key, data in files.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for key, data in files.items():
            archive.writestr(key, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for key, data in files.items():
            info = tarfile.TarInfo(key)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
