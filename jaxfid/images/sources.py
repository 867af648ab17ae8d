"""Opens whatever holds images as an `ImageSource`."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxfid.errors import InputError
from jaxfid.images.archives import TarSource, ZipSource
from jaxfid.images.array_files import ArrayFileSource
from jaxfid.images.arrays import ArraySource, SequenceSource
from jaxfid.images.folders import FolderSource, is_image_name, list_files
from jaxfid.images.interface import ImageSource, name_some
from jaxfid.images.spool import SpooledSource
from jaxfid.images.tfds import SCHEME, open_tfds

_KINDS = "a folder, a .zip, .tar, .npz or .npy file, tfds:NAME/SPLIT"
_COMPRESSED_TARS = (".tgz", ".tbz", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_source(
    images: str
    | os.PathLike[str]
    | np.ndarray
    | Sequence[Any]
    | Iterable[Any]
    | Callable[[], Iterable[Any]]
    | ImageSource,
) -> ImageSource:
    """Returns the images as a source, having checked all that can be checked without decoding.

    Args:
      images: One of

        * a folder of images, searched with all folders below, or of tar files;
        * a `.zip` or `.tar` file of images, or a list of `.tar` files (WebDataset's shards);
        * a `.npy` or `.npz` file of one uint8 array, `(n, h, w, 3)` or, grey, `(n, h, w)`;
        * `tfds:NAME[/CONFIG][:VERSION]/SPLIT`, a data set that TensorFlow Datasets prepared here;
        * such an array, NumPy's or any that NumPy can view or copy, JAX's among them;
        * a sequence of uint8 arrays `(h, w, 3)` or `(h, w)`, of any sizes;
        * any other iterable of such arrays or of batches `(n, h, w, 3)`, or a function that returns one, as
          a generator function does: read to its end here and kept in a temporary file;
        * a source, which comes back as it is.

    Raises:
      InputError: It is none of these, is missing or corrupt, or holds no images.
    """
    if isinstance(images, ImageSource):
        return images
    if isinstance(images, str) and images.startswith(SCHEME):
        return open_tfds(images)
    if isinstance(images, str | os.PathLike):
        return _open_path(Path(images), str(images))
    if isinstance(images, np.ndarray) or hasattr(images, "__dlpack__"):
        return _open_array(images)
    if isinstance(images, bytes | bytearray | Mapping):
        raise _unknown_kind(images)
    if not (hasattr(images, "__getitem__") and hasattr(images, "__len__")):
        return _open_iterable(images)
    if len(images) and all(isinstance(item, str | os.PathLike) for item in _ends(images)):
        return _open_shards(images)
    return SequenceSource(images, name=f"sequence of {len(images)} images")


def _open_iterable(images: Any) -> ImageSource:  # noqa: ANN401
    name = getattr(images, "__qualname__", type(images).__name__)
    given = images() if callable(images) else images
    if not isinstance(given, Iterable):
        raise _unknown_kind(given)
    return SpooledSource(given, name=name)


def _unknown_kind(images: Any) -> InputError:  # noqa: ANN401
    expected = f"{_KINDS}, an array, or a sequence, an iterable or a generator function of arrays"
    return InputError(f"images: expected {expected}, found {type(images).__name__}")


def _open_path(path: Path, name: str) -> ImageSource:
    if name and path.is_dir():
        return _open_folder(path, name)
    if not name or not path.exists():
        raise InputError(f"{name}: expected {_KINDS}, found nothing there")
    suffix = path.suffix.lower()
    if path.name.lower().endswith(_COMPRESSED_TARS):
        raise InputError(f"{name}: a compressed tar cannot be read in parts; unpack it to .tar")
    if suffix == ".zip":
        return ZipSource(path, name=name)
    if suffix == ".tar":
        return TarSource({path.name: path}, name=name)
    if suffix in (".npy", ".npz"):
        return ArrayFileSource(path, name=name)
    raise InputError(f"{name}: expected {_KINDS}, found a file of another kind")


def _open_folder(root: Path, name: str) -> ImageSource:
    files = list_files(root)
    shards = [key for key in files if key.lower().endswith(".tar")]
    if not shards:
        return FolderSource(root, keys=files, name=name)
    if any(is_image_name(key) for key in files):
        raise InputError(f"{name}: expected images or tar files, found both; {shards[0]} is a tar")
    return TarSource({key: root / key for key in shards}, name=name)


def _open_shards(paths: Sequence[str | os.PathLike[str]]) -> ImageSource:
    shards = {Path(path).as_posix(): Path(path) for path in paths}
    wrong = [key for key, path in shards.items() if path.suffix.lower() != ".tar"]
    wrong += [key for key, path in shards.items() if not path.is_file() and key not in wrong]
    if wrong:
        found = name_some(wrong)
        raise InputError(f"images: expected a list of existing .tar files, found {found}")
    if len(shards) < len(paths):
        raise InputError("images: expected every .tar file once, found one twice")
    return TarSource(shards, name=f"{len(shards)} tar files from {next(iter(shards))}")


def _open_array(images: Any) -> ImageSource:  # noqa: ANN401
    try:
        array = np.asarray(images)
    except (TypeError, RuntimeError) as error:
        found = f"{type(images).__name__}: {error}"
        raise InputError(f"images: expected an array that NumPy can read, found {found}") from error
    return ArraySource(array, name=f"array of shape {array.shape}")


def _ends(images: Sequence[Any]) -> list[Any]:
    """The first and last item: a sequence may make its items on demand."""
    return [images[0], images[len(images) - 1]]
