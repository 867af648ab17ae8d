"""The formats that are read, each with a good file of it. A new format is one entry of `FORMATS`."""

import dataclasses
import io
import json
import pathlib
import pickle
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np
import PIL.Image
import safetensors.numpy

from jaxfid.extractors.weights_file import read_tensors
from jaxfid.images.crc32c import crc32c
from jaxfid.images.decode import decode_file
from jaxfid.images.sources import open_source
from jaxfid.images.tfrecord import Shard, TfRecords
from jaxfid.stats.features import load_features
from jaxfid.stats.files import load_stats

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(6, 3)).astype(np.float32)
STATS = {"mu": FEATURES.mean(axis=0), "sigma": np.cov(FEATURES, rowvar=False)}
IMAGES = RNG.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8)


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
      good: The bytes that are damaged.
      read: Reads the file at a path, all of it.
      suffix: Of the file's name.
      wrap: What is done to the damaged bytes: packing them into an archive with right checksums
        brings the damage to the reader behind.
    """

    good: bytes
    read: Callable[[pathlib.Path], object]
    suffix: str = ""
    wrap: Callable[[bytes], bytes] = bytes


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _npz(*, packed: bool = False, **arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(stream, **arrays)
    return stream.getvalue()


def _zip(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _rebuilt(key: str, shape: str, strides: str, dtype: str = "FloatStorage") -> bytes:
    """A tensor as `torch.save` pickles it."""
    storage = f"(U\x07storagectorch\n{dtype}\nU\x01{key}U\x03cpuK\x08tQ"
    return f"ctorch._utils\n_rebuild_tensor_v2\n({storage}K\x00({shape}t({strides}t\x89}}tR".encode(
        "latin-1"
    )


_STATE = b"\x80\x02}(U\x01a" + _rebuilt("1", "K\x02K\x04", "K\x04K\x01") + b"U\x01b"
_STATE += _rebuilt("1", "K\x03", "K\x02") + b"u."
_SCRIPT = (
    b"\x80\x02c__torch__.net\nNet\n)\x81}(U\x01aN" + b"U\x01w" + _rebuilt("1", "K\x08", "K\x01")
)
_SCRIPT += b"ub."
_NUMBERS = np.arange(8, dtype=np.float32).tobytes()


def _sequential() -> bytes:
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    state = _STATE.replace(b"K\x08tQ", b"K\x08NtQ")
    parts = [magic, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", state, b"\x80\x02](U\x011e."]
    return b"".join(parts) + (8).to_bytes(8, "little") + _NUMBERS


def _torch_zip(state: bytes) -> bytes:
    return _zip(**{"net/data.pkl": state, "net/data/1": _NUMBERS, "net/byteorder": b"little"})


def _read_images(path: pathlib.Path) -> None:
    source = open_source(path)
    _ = source.labels
    for index in range(len(source)):
        source.read(index)
        source.fingerprint(index, whole=True)


def _read_image(path: pathlib.Path) -> None:
    decode_file(path)


def _image(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(IMAGES[0]).save(stream, kind, **options)
    return stream.getvalue()


def _tar(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _read_records(path: pathlib.Path) -> None:
    records = TfRecords([Shard(str(path), 0, len(IMAGES), len(IMAGES))])
    for index in range(len(records)):
        _ = records[index]


def _tfrecord() -> bytes:
    def masked(data: bytes) -> bytes:
        crc = crc32c(data)
        return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")

    parts = []
    for image in IMAGES:
        length = image.nbytes.to_bytes(8, "little")
        parts += [length, masked(length), image.tobytes(), masked(image.tobytes())]
    return b"".join(parts)


_SAMPLES = {
    "a.png": _image("PNG"),
    "a.cls": b"3",
    "b/c.jpg": _image("JPEG"),
    "b/c.cls": b"7",
}
_LABELS = b'{"labels": [["a.png", 3], ["b/c.jpg", 7]]}'


def _safetensors_of(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + _NUMBERS


FORMATS: dict[str, Format] = {
    "features npy": Format(_npy(FEATURES), load_features),
    "features npz": Format(_npz(features=FEATURES), load_features),
    "features npz, deflated": Format(_npz(packed=True, features=FEATURES), load_features),
    "features npz, member": Format(
        _npy(FEATURES), load_features, wrap=lambda data: _zip(**{"features.npy": data})
    ),
    "features npz, provenance": Format(
        b'{"extractor": "x", "dims": [1, 2.5]}',
        load_features,
        wrap=lambda data: _npz(features=FEATURES, provenance=np.array(data.decode("latin-1"))),
    ),
    "stats npz": Format(_npz(**STATS, count=np.array(6)), load_stats),
    "stats npz, member": Format(
        _npy(STATS["sigma"]),
        load_stats,
        wrap=lambda data: _zip(**{"mu.npy": _npy(STATS["mu"]), "sigma.npy": data}),
    ),
    **{
        f"stats pickle {protocol}": Format(pickle.dumps(STATS, protocol), load_stats, ".pkl")
        for protocol in range(6)
    },
    "stats pickle of several": Format(
        pickle.dumps({"num_images": 6, "fid": STATS, "fd_dinov2": STATS}), load_stats
    ),
    "stats npy of a dict": Format(_npy(np.array(STATS, object)), load_stats),
    "torch sequential": Format(_sequential(), read_tensors, ".pth"),
    "torch zip": Format(_torch_zip(_STATE), read_tensors, ".pth"),
    "torch zip, pickle": Format(_STATE, read_tensors, ".pth", _torch_zip),
    "torchscript, pickle": Format(_SCRIPT, read_tensors, ".pt", _torch_zip),
    "safetensors": Format(
        safetensors.numpy.save({"a": FEATURES, "b": FEATURES[0]}), read_tensors, ".safetensors"
    ),
    "safetensors, header": Format(
        json.dumps({"a": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}}).encode(),
        read_tensors,
        ".safetensors",
        _safetensors_of,
    ),
    "images npy": Format(_npy(IMAGES), _read_images, ".npy"),
    "images npz": Format(_npz(arr_0=IMAGES), _read_images, ".npz"),
    "images npz, deflated": Format(_npz(packed=True, arr_0=IMAGES), _read_images, ".npz"),
    "images zip": Format(_zip(**_SAMPLES), _read_images, ".zip"),
    "images zip, labels": Format(
        _LABELS,
        _read_images,
        ".zip",
        lambda data: _zip(**{**_SAMPLES, "dataset.json": data}),
    ),
    "images tar": Format(_tar(**_SAMPLES), _read_images, ".tar"),
    "tfrecord": Format(_tfrecord(), _read_records),
    **{
        f"image {kind}": Format(_image(kind), _read_image, f".{kind.lower()}")
        for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "TGA", "ICO")
    },
}
