"""Opens whatever holds images as an `ImageSource`."""

import concurrent.futures
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from jaxfid.errors import InputError
from jaxfid.images.array_files import ArrayFileSource
from jaxfid.images.arrays import ArraySource, RandomAccess, SequenceSource
from jaxfid.images.folders import FileListSource, FolderSource, Listing, list_files
from jaxfid.images.formats import has_image_extension, is_image_name
from jaxfid.images.interface import ImageSource, name_some
from jaxfid.images.joined import JoinedSource
from jaxfid.images.listing import describe_others, list_others
from jaxfid.images.spool import SpooledSource
from jaxfid.images.tars import TarSource
from jaxfid.images.tfds import SCHEME, open_tfds
from jaxfid.images.zips import ZipSource
from jaxfid.storage.files import reading
from jaxfid.storage.paths import RemotePath, as_path

_KINDS = "a folder, a .zip, .tar, .npz or .npy file, tfds:NAME/SPLIT"
_COMPRESSED_TARS = (".tgz", ".tbz", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_ARRAY_FILES = (".npy", ".npz")
_SHARDS = (".tar", *_ARRAY_FILES)
_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")  # WebDataset's way to name shards
_MAX_SHARDS = 100_000
_OPENED_AT_ONCE = 16  # in a bucket each takes some requests


def open_source(images: object, *, image_key: str | None = None) -> ImageSource:
    """Returns the images as a source, having checked all that can be checked without decoding.

    Args:
      images: One of

        * a folder of images, searched with all folders below, or of tar, `.npz` or `.npy` files;
        * a `.zip` or `.tar` file of images, or several `.tar` files (WebDataset's shards), in a list or
          written `set-{000..012}.tar`;
        * a `.npy` or `.npz` file of one uint8 array, `(n, h, w, 3)` or, grey, `(n, h, w)`, or a list of them;
        * a list of paths of image files;
        * any of these in a bucket, written `gs://...`, `s3://...` or as fsspec has it;
        * `tfds:NAME[/CONFIG][:VERSION]/SPLIT`, a data set that TensorFlow Datasets prepared here;
        * such an array, NumPy's or any that NumPy can view or copy, JAX's among them;
        * a sequence of uint8 arrays `(h, w, 3)` or `(h, w)`, or of Pillow's images, of any sizes;
        * any other iterable of these or of batches `(n, h, w, 3)`, or a function that returns one, as
          a generator function does: read to its end here and kept in a temporary file;
        * a source, which is returned as it is.
      image_key: Which image of a sample is meant, where an archive or a folder has several: what follows the
        first dot of its name, such as `left.png`. `*` is for all of them.

    Raises:
      InputError: It is none of these, is missing or corrupt, or holds no images; or samples of a tar
        file have several images and `image_key` does not say which is meant.
    """
    source = _open(images, image_key)
    if image_key is not None and not isinstance(source, FolderSource | ZipSource | TarSource):
        raise InputError(f"image_key: expected a folder, .zip or .tar file, found {source.name}")
    return source


def _open(images: Any, image_key: str | None) -> ImageSource:  # noqa: ANN401
    if isinstance(images, ImageSource):
        return images
    if isinstance(images, str) and images.startswith(SCHEME):
        return open_tfds(images)
    if isinstance(images, str | os.PathLike):
        return _open_path(os.fspath(images), image_key)
    # Before sequences: an array of JAX or PyTorch is a sequence too, and would be read image by image.
    if isinstance(images, np.ndarray) or hasattr(images, "__dlpack__"):
        return _open_array(images)
    if isinstance(images, bytes | bytearray | Mapping):
        raise _unknown_kind(images)
    if not isinstance(images, RandomAccess):
        return _open_iterable(images)
    if len(images) and all(isinstance(item, str | os.PathLike) for item in _ends(images)):
        return _open_paths([os.fspath(images[i]) for i in range(len(images))], image_key)
    return SequenceSource(images, name=f"sequence of {len(images)} images")


def _open_iterable(images: Any) -> ImageSource:  # noqa: ANN401
    name = getattr(images, "__qualname__", type(images).__name__)
    given = images() if callable(images) else images
    if not isinstance(given, Iterable):
        raise _unknown_kind(given)
    return SpooledSource(given, name=name)


def _unknown_kind(images: object) -> InputError:
    expected = f"{_KINDS}, an array, or a sequence, an iterable or a generator function of arrays"
    return InputError(f"images: expected {expected}, found {type(images).__name__}")


def _open_path(name: str, image_key: str | None) -> ImageSource:
    path = as_path(name)
    with reading(path):  # names that are too long or hold a null byte
        is_there = bool(name) and path.exists()
        is_folder = is_there and path.is_dir()
    if is_folder:
        return _open_folder(path, name, image_key)
    if not is_there:
        if shards := _expand(name):
            return _open_paths(shards, image_key)
        found = "nothing there" if not isinstance(path, RemotePath) else path.describe_absence()
        raise InputError(f"{name}: expected {_KINDS}, found {found}")
    if name.lower().endswith(_COMPRESSED_TARS):
        raise InputError(f"{name}: a compressed tar cannot be read in parts; unpack it to .tar")
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return ZipSource(path, name=name, image_key=image_key)
    if suffix == ".tar":
        return TarSource({path.name: path}, name=name, image_key=image_key)
    if suffix in _ARRAY_FILES:
        return ArrayFileSource(path, name=name)
    # A single image is no set, but a list that holds one says that it is meant.
    remedy = "; give its path in a list" if has_image_extension(name) else ""
    raise InputError(f"{name}: expected {_KINDS}, found a file of another kind{remedy}")


def _open_folder(root: epath.Path, name: str, image_key: str | None) -> ImageSource:
    listing = list_files(root)
    shards = sorted(key for key in listing.names if key.lower().endswith(_SHARDS))
    tars = [key for key in shards if key.lower().endswith(".tar")]
    has_images = any(is_image_name(key) for key in listing.names)
    if has_images and tars:
        raise InputError(f"{name}: expected images or tar files, found both; {tars[0]} is a tar")
    if has_images or not shards:
        return FolderSource(root, listing, name=name, image_key=image_key)
    if tars:
        return TarSource({key: root / key for key in tars}, name=name, image_key=image_key)
    return _join_array_files({key: root / key for key in shards}, name, listing)


def _join_array_files(
    paths: Mapping[str, epath.Path], name: str, listing: Listing | None = None
) -> ImageSource:
    with concurrent.futures.ThreadPoolExecutor(_OPENED_AT_ONCE, "jaxfid-open") as pool:
        opened = pool.map(lambda path: ArrayFileSource(path, name=str(path)), paths.values())
        sources = dict(zip(paths, opened, strict=True))
    others = list_others(listing.names, paths) if listing else []
    return JoinedSource(sources, name=name, others=others, remarks=describe_others(others))


def _open_paths(given: Sequence[str], image_key: str | None) -> ImageSource:
    paths = {as_path(path).as_posix(): as_path(path) for path in given}
    if len(paths) < len(given):
        raise InputError("images: expected every file once, found one twice")
    # One kind: an archive and the images that were unpacked from it must not be added up.
    kinds = {_kind(key) for key in paths}
    wrong = [key for key, path in paths.items() if _kind(key) is None or _is_missing(path)]
    if len(kinds) > 1 or wrong:
        found = name_some(wrong) or "several kinds"
        expected = "a list of existing files of one kind, .tar, .npz, .npy or images"
        raise InputError(f"images: expected {expected}, found {found}")
    name = f"{len(paths)} files from {next(iter(paths))}"
    if kinds == {"image"}:
        return FileListSource(paths, name=name)
    if kinds == {"array"}:
        return _join_array_files(dict(sorted(paths.items())), name)
    return TarSource(paths, name=name, image_key=image_key)


def _is_missing(path: epath.Path) -> bool:
    """Whether there is no such file on this machine; objects are asked for by what opens them, at once."""
    return not isinstance(path, RemotePath) and not path.is_file()


def _kind(key: str) -> str | None:
    if key.lower().endswith(".tar"):
        return "tar"
    if key.lower().endswith(_ARRAY_FILES):
        return "array"
    return "image" if has_image_extension(key) else None


def _expand(name: str) -> list[str]:
    """The names that one with `{000..012}` in it stands for; none where it stands for itself."""
    match = _NUMBERS.search(name)
    if match is None:
        return []
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + _MAX_SHARDS:
        raise InputError(
            f"{name}: expected a range of 1 to {_MAX_SHARDS} numbers, found {match[0]}"
        )
    before, after = name[: match.start()], name[match.end() :]
    return [f"{before}{number:0{len(match[1])}d}{after}" for number in range(first, last + 1)]


def _open_array(images: Any) -> ImageSource:  # noqa: ANN401
    try:
        array = np.asarray(images)
    except (TypeError, RuntimeError) as error:
        found = f"{type(images).__name__}: {error}"
        raise InputError(f"images: expected an array that NumPy can read, found {found}") from error
    return ArraySource(array, name=f"array of shape {array.shape}")


def _ends(images: RandomAccess) -> list[Any]:
    """The first and last item: a sequence may make its items on demand."""
    return [images[0], images[len(images) - 1]]
