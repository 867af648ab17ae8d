"""Opens whatever holds images as an `ImageSource`."""

import concurrent.futures
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from jaxfid.errors import InputError
from jaxfid.images.array_files import ArrayFileSource
from jaxfid.images.arrays import MAX_IMAGES, ArraySource, RandomAccess, SequenceSource
from jaxfid.images.folders import FileListSource, FolderSource, list_files
from jaxfid.images.formats import has_image_extension, is_image_name
from jaxfid.images.hugging_face import SCHEME as HF
from jaxfid.images.hugging_face import HuggingFaceSource, is_hugging_face, open_hugging_face
from jaxfid.images.interface import ImageSource, name_some
from jaxfid.images.joined import JoinedSource
from jaxfid.images.listing import describe_others, list_others
from jaxfid.images.record_files import RecordFileSource, is_record_file, require_all_shards
from jaxfid.images.records import RecordSource
from jaxfid.images.shard_names import expand_shards
from jaxfid.images.spool import SpooledSource
from jaxfid.images.tars import TarSource
from jaxfid.images.tfds import SCHEME as TFDS
from jaxfid.images.tfds import open_tfds
from jaxfid.images.zips import ZipSource
from jaxfid.storage.files import reading
from jaxfid.storage.paths import RemotePath, as_path

_KINDS = "a folder, a .zip, .tar, .npz, .npy, .tfrecord or .array_record file, tfds:NAME/SPLIT, hf:FOLDER"
_COMPRESSED_TARS = (".tgz", ".tbz", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_ARRAY_FILES = (".npy", ".npz")
_SHARDS = ("tar", "records", "array")  # kinds of files that hold many images, by what comes first
_OF_SAMPLES = (FolderSource, ZipSource, TarSource)
_OF_RECORDS = (RecordSource, RecordFileSource, SpooledSource)
# Folders that are to be opened by the description in them, or their splits would be mixed.
_DESCRIBED = {
    "features.json": "a data set of TensorFlow Datasets; give it as tfds:NAME/SPLIT",
    "dataset_dict.json": "a data set of Hugging Face's in splits; give it as hf:{}/SPLIT",
    "state.json": "a data set of Hugging Face's; give it as hf:{}",
}
_OPENED_AT_ONCE = 16  # in a bucket each takes some requests


def open_source(
    images: object, *, image_key: str | None = None, label_key: str | None = None
) -> ImageSource:
    """Returns the images as a source, having checked all that can be checked without decoding.

    Args:
      images: One of

        * a folder of images, searched with all folders below, or of files of one kind that follows here;
        * a `.zip` or `.tar` file of images, or several `.tar` files (WebDataset's shards), in a list or
          written `set-{000..012}.tar`;
        * a `.npy` or `.npz` file of one uint8 array, `(n, h, w, 3)` or, grey, `(n, h, w)`, or a list of them;
        * a `.tfrecord` or `.array_record` file, or a list of them, whose records are encoded images or
          `tf.train.Example` messages that hold one;
        * a list of paths of image files;
        * any of these in a bucket, written `gs://...`, `s3://...` or as fsspec has it;
        * `tfds:NAME[/CONFIG][:VERSION]/SPLIT`, a data set that TensorFlow Datasets prepared here;
        * `hf:FOLDER`, a data set that Hugging Face's `save_to_disk` wrote here, or a `datasets.Dataset`;
        * such an array, NumPy's or any that NumPy can view or copy, JAX's among them;
        * a sequence of uint8 arrays `(h, w, 3)` or `(h, w)`, of Pillow's images or of encoded ones (bytes),
          of any sizes, or of dicts that hold one: a Grain `MapDataset` or data source;
        * any other iterable of these or of batches `(n, h, w, 3)`, or a function that returns one, as
          a generator function does: read to its end here and kept in a temporary file;
        * a source, which is returned as it is.
      image_key: Which image of a sample is meant, where an archive or a folder has several: what follows the
        first dot of its name, such as `left.png`. `*` is for all of them. Of records that are dicts the name
        of the image; by default the usual ones, such as `image` and `jpg`.
      label_key: Of records that are dicts the name of the class; by default the usual ones, such as `label`
        and `cls`.

    Raises:
      InputError: It is none of these, is missing or corrupt, or holds no images; or samples of a tar
        file have several images and `image_key` does not say which is meant.
    """
    source = _open(images, _Keys(image_key, label_key))
    for part in source.sources if isinstance(source, JoinedSource) else [source]:
        if image_key is not None and not isinstance(part, (*_OF_SAMPLES, *_OF_RECORDS)):
            expected = "a folder, .zip or .tar file, or records"
            raise InputError(f"image_key: expected {expected}, found {source.name}")
        if label_key is not None and not isinstance(part, _OF_RECORDS):
            raise InputError(f"label_key: expected records, found {source.name}")
    return source


class _Keys(NamedTuple):
    """What the user calls the image and the class of a sample or record; passed on to what knows them."""

    image_key: str | None
    label_key: str | None


def _open(images: Any, keys: _Keys) -> ImageSource:  # noqa: ANN401
    if isinstance(images, ImageSource):
        return images
    if isinstance(images, str) and images.startswith(TFDS):
        return open_tfds(images)
    if isinstance(images, str) and images.startswith(HF) and not images.startswith(f"{HF}//"):
        return open_hugging_face(images, **keys._asdict())
    if isinstance(images, str | os.PathLike):
        return _open_path(os.fspath(images), keys)
    # Before sequences: an array of JAX or PyTorch is a sequence too, and would be read image by image.
    if isinstance(images, np.ndarray) or hasattr(images, "__dlpack__"):
        return _open_array(images)
    if isinstance(images, bytes | bytearray) or (
        isinstance(images, Mapping) and not is_hugging_face(images)
    ):
        raise _unknown_kind(images)
    if not isinstance(images, RandomAccess):
        return _open_iterable(images, keys)
    return _open_sequence(images, keys)


def _open_sequence(images: RandomAccess, keys: _Keys) -> ImageSource:
    count = len(images)
    if count > MAX_IMAGES:  # Grain's `repeat` without a number has the largest length there is
        raise InputError(f"images: expected at most {MAX_IMAGES:,} images, found {count:,}")
    first = images[0] if count else None  # no further ones: a sequence may make its items on demand
    if isinstance(first, Mapping) or (count and first is None):
        open_records = HuggingFaceSource if is_hugging_face(images) else RecordSource
        name = f"{type(images).__name__} of {count} records"
        return open_records(images, name=name, **keys._asdict())
    if count and all(isinstance(item, str | os.PathLike) for item in (first, images[count - 1])):
        return _open_paths([os.fspath(images[i]) for i in range(count)], keys)
    return SequenceSource(images, name=f"sequence of {count} images")


def _open_iterable(images: Any, keys: _Keys) -> ImageSource:  # noqa: ANN401
    name = getattr(images, "__qualname__", type(images).__name__)
    given = images() if callable(images) else images
    if not isinstance(given, Iterable):
        raise _unknown_kind(given)
    return SpooledSource(given, name=name, **keys._asdict())


def _unknown_kind(images: object) -> InputError:
    expected = f"{_KINDS}, an array, or a sequence, an iterable or a generator function of arrays"
    return InputError(f"images: expected {expected}, found {type(images).__name__}")


def _open_path(name: str, keys: _Keys) -> ImageSource:
    path = as_path(name)
    with reading(path):  # names that are too long or hold a null byte
        is_there = bool(name) and path.exists()
        is_folder = is_there and path.is_dir()
    if is_folder:
        return _open_folder(path, name, keys)
    if not is_there:
        if shards := expand_shards(name):
            return _open_paths(shards, keys)
        found = "nothing there" if not isinstance(path, RemotePath) else path.describe_absence()
        raise InputError(f"{name}: expected {_KINDS}, found {found}")
    if name.lower().endswith(_COMPRESSED_TARS):
        raise InputError(f"{name}: a compressed tar cannot be read in parts; unpack it to .tar")
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return ZipSource(path, name=name, image_key=keys.image_key)
    if suffix == ".tar":
        return TarSource({path.name: path}, name=name, image_key=keys.image_key)
    if suffix in _ARRAY_FILES:
        return ArrayFileSource(path, name=name)
    if is_record_file(name):
        return RecordFileSource(path, name=name, **keys._asdict())
    # A single image is no set, but a list that holds one says that it is meant.
    remedy = "; give its path in a list" if has_image_extension(name) else ""
    raise InputError(f"{name}: expected {_KINDS}, found a file of another kind{remedy}")


def _open_folder(root: epath.Path, name: str, keys: _Keys) -> ImageSource:
    listing = list_files(root)
    kinds = {key: _kind(key) for key in listing.names if not key.endswith("/")}
    shards = sorted(key for key, kind in kinds.items() if kind in _SHARDS)
    has_images = any(is_image_name(key) for key in kinds)
    if not has_images and (described := _DESCRIBED.keys() & kinds):
        marker = min(described)
        raise InputError(f"{name}: is {_DESCRIBED[marker].format(name)}, as its {marker} says")
    first = next((key for kind in _SHARDS for key in shards if kinds[key] == kind), None)
    if has_images and first is not None and kinds[first] != "array":
        raise InputError(
            f"{name}: expected images or {kinds[first]} files, found both; {first} is one"
        )
    if has_images or first is None:
        return FolderSource(root, listing, name=name, image_key=keys.image_key)
    chosen = {key: root / key for key in shards if kinds[key] == kinds[first]}
    if kinds[first] == "records":
        require_all_shards(name, chosen)
    return _open_shards(str(kinds[first]), chosen, name, keys, list_others(listing.names, chosen))


def _open_shards(
    kind: str, paths: Mapping[str, epath.Path], name: str, keys: _Keys, others: Sequence[str] = ()
) -> ImageSource:
    """Opens files of one kind as one source."""
    if kind == "tar":
        return TarSource(paths, name=name, image_key=keys.image_key)

    def open_one(path: epath.Path) -> ImageSource:
        if kind == "array":
            return ArrayFileSource(path, name=str(path))
        return RecordFileSource(path, name=str(path), **keys._asdict())

    with concurrent.futures.ThreadPoolExecutor(_OPENED_AT_ONCE, "jaxfid-open") as pool:
        sources = dict(zip(paths, pool.map(open_one, paths.values()), strict=True))
    return JoinedSource(sources, name=name, others=others, remarks=describe_others(others))


def _open_paths(given: Sequence[str], keys: _Keys) -> ImageSource:
    paths = {as_path(path).as_posix(): as_path(path) for path in given}
    if len(paths) < len(given):
        raise InputError("images: expected every file once, found one twice")
    # One kind: an archive and the images that were unpacked from it must not be added up.
    kinds = {_kind(key) for key in paths}
    wrong = [key for key, path in paths.items() if _kind(key) is None or _is_missing(path)]
    if len(kinds) > 1 or wrong:
        found = name_some(wrong) or "several kinds"
        expected = "a list of existing files of one kind, .tar, .npz, .npy, records or images"
        raise InputError(f"images: expected {expected}, found {found}")
    name = f"{len(paths)} files from {next(iter(paths))}"
    if kinds == {"image"}:
        return FileListSource(paths, name=name)
    (kind,) = kinds
    # The tar files of a list keep its order, as they always have.
    return _open_shards(
        str(kind), paths if kind == "tar" else dict(sorted(paths.items())), name, keys
    )


def _is_missing(path: epath.Path) -> bool:
    """Whether there is no such file on this machine; objects are asked for by what opens them, at once."""
    return not isinstance(path, RemotePath) and not path.is_file()


def _kind(key: str) -> str | None:
    if key.lower().endswith(".tar"):
        return "tar"
    if key.lower().endswith(_ARRAY_FILES):
        return "array"
    if is_record_file(key):
        return "records"
    return "image" if has_image_extension(key) else None


def _open_array(images: Any) -> ImageSource:  # noqa: ANN401
    try:
        array = np.asarray(images)
    except (TypeError, RuntimeError) as error:
        found = f"{type(images).__name__}: {error}"
        raise InputError(f"images: expected an array that NumPy can read, found {found}") from error
    return ArraySource(array, name=f"array of shape {array.shape}")
