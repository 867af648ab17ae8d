"""Data sets that TensorFlow Datasets prepared on this machine, read without TensorFlow."""

import functools
import importlib.util
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.arrays import RandomAccess, make_position_keys
from jaxfid.images.decode import decode_image
from jaxfid.images.interface import ImageSource, digest_lines, name_some, sample_content
from jaxfid.images.tfrecord import Shard, TfRecords
from jaxfid.storage.files import read_file, stat_file
from jaxfid.storage.paths import as_path, is_remote
from jaxfid.storage.random_access import FileReader

SCHEME = "tfds:"

_SPEC = re.compile(
    r"tfds:(?P<name>\w+)(/(?P<config>[^:/\[\]]+))?(:(?P<version>\d+\.\d+\.\d+))?/(?P<split>[^/]+)"
)
_DESCRIPTION = "dataset_info.json"
_FEATURES = "features.json"
_MAX_DESCRIPTION_BYTES = (
    1 << 26
)  # names of all classes and statistics of all splits: some MB at most
# A description names the class of each feature, and TFDS imports whatever module that is in.
_KNOWN_FEATURES = {
    "image": "tensorflow_datasets.core.features.image_feature.Image",
    "label": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
}


class TfdsSource(ImageSource):
    """The images of a split of a prepared data set, in the order of its records.

    The images are decoded by the same rules as files are, not by TensorFlow.
    """

    def __init__(
        self,
        name: str,
        *,
        records: RandomAccess,
        features: Any,  # noqa: ANN401
        shards: Sequence[Shard],
    ) -> None:
        """Takes a split's records, the features to be read of each, and the files that they lie in."""
        self.name = name
        self.keys = make_position_keys(len(records))
        self._records, self._features = records, features
        self._shards = shards
        self.is_remote = any(is_remote(shard.filename) for shard in shards)
        files = [stat_file(shard.filename) for shard in shards]
        self._version = digest_lines(f"{file.mtime_ns} {file.inode}" for file in files)

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """Class names, found by reading every record once; None where the data set has no classes."""
        if "label" not in self._features:
            return None
        to_name = self._features["label"].int2str
        return [to_name(self._example(index)["label"]) for index in range(len(self.keys))]

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the decoded image of a record."""
        return decode_image(self._example(index)["image"], f"{self.name} record {index}")

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns what identifies the split's files, the same for every record; `whole` adds its image."""
        if not whole:
            return self._content
        return f"{self._content} {super().fingerprint(index, whole=True)}"

    @functools.cached_property
    def _content(self) -> str:
        """A digest of the files of the split, wherever they lie; made late, as each is opened for it."""
        return digest_lines(map(_describe_shard, self._shards))

    def version(self, index: int) -> str:
        """Returns the modification times and inodes of the split's files, the same for every record."""
        return self._version

    def _example(self, index: int) -> dict[str, Any]:
        import tensorflow_datasets as tfds

        try:
            record = self._records[index]
            undecoded = {"image": tfds.decode.SkipDecoding()}
            return self._features.deserialize_example_np(record, decoders=undecoded)
        except InputError:
            raise
        except Exception as error:  # Its readers raise whatever a corrupt file leads them to.
            found = f"{self.name}: record {index} cannot be read: {error}"
            raise InputError(found) from error


def open_tfds(spec: str, *, data_dir: str | os.PathLike[str] | None = None) -> TfdsSource:
    """Returns the images of a prepared data set; nothing is downloaded.

    Args:
      spec: `tfds:NAME[/CONFIG][:VERSION]/SPLIT`, such as `tfds:cifar10/test` or
        `tfds:cifar10:3.0.2/train[:50%]+test`. Without a version, the latest that is there.
      data_dir: Where data sets are kept; by default `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    Raises:
      InputError: It is not written so, is not there, is in a format that cannot be read here, has no
        such split or no images; or `tensorflow-datasets` is not installed.
    """
    parts = _SPEC.fullmatch(spec)
    if parts is None:
        raise InputError(f"{spec}: expected tfds:NAME[/CONFIG][:VERSION]/SPLIT")
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = as_path(os.path.expanduser(data_dir))  # noqa: PTH111
    folder = _find_version(spec, root, parts["name"], parts["config"], parts["version"])
    _require(spec, "tensorflow_datasets", "tensorflow-datasets")
    features = _make_features(spec, folder)
    file_format, splits = _read_splits(spec, folder)
    shards = _find_shards(spec, splits, parts["split"])
    records = _open_records(spec, file_format, shards)
    return TfdsSource(spec, records=records, features=features, shards=shards)


def _describe_shard(shard: Shard) -> str:
    file = FileReader(shard.filename)
    sampled = sample_content(file.read_at, file.num_bytes, version=file.version)
    return f"{as_path(shard.filename).name} {shard.skip} {shard.take} {sampled}"


# Not `jaxfid[tfds]`: jaxfid is on no index.
_PACKAGES = "array_record tensorflow-datasets importlib_resources"


def _require(spec: str, module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{spec}: needs the package {package}; pip install {_PACKAGES}")


def _find_version(
    spec: str, root: epath.Path, name: str, config: str | None, version: str | None
) -> epath.Path:
    """The folder of the version asked for, or of the latest."""
    if not (root / name).is_dir():
        here = name_some(sorted({path.name for path in _list_folders(root)} - {"downloads"}))
        raise InputError(
            f"{spec}: expected the data set prepared in {root}, found {here or 'nothing there'}. Set "
            f"TFDS_DATA_DIR, or prepare it: {_make_remedy(name, root)}"
        )
    above = root / name / config if config else root / name
    found = _list_described(above)
    if not found:
        configs = {path.name for path in _list_folders(above) if _list_described(path)}
        remedy = f"; choose one of its configurations: {name_some(sorted(configs))}"
        raise InputError(f"{spec}: no version in {above}{remedy if configs else ''}")
    # Folders that hold no description are half-written or foreign, and were left out above.
    if version is not None and version not in found:
        raise InputError(f"{spec}: expected one of {name_some(sorted(found))}, found {version}")
    return found[version or max(found, key=_version_order)]


def _list_folders(above: epath.Path) -> list[epath.Path]:
    return [path for path in above.iterdir() if path.is_dir()] if above.is_dir() else []


def _list_described(above: epath.Path) -> dict[str, epath.Path]:
    """The versions in a folder, by their names."""
    return {p.name: p for p in _list_folders(above) if (p / _DESCRIPTION).is_file()}


def _version_order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _make_remedy(name: str, root: epath.Path) -> str:
    return (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{root}', file_format='array_record')"
        '.download_and_prepare()"'
    )


def _read_splits(spec: str, folder: epath.Path) -> tuple[str, Any]:
    """The format of a data set's files and its splits, as its description has them."""
    from google.protobuf import json_format
    from tensorflow_datasets.core import naming, splits
    from tensorflow_datasets.core.proto import dataset_info_pb2

    text = read_file(folder / _DESCRIPTION, max_bytes=_MAX_DESCRIPTION_BYTES)
    try:
        empty = dataset_info_pb2.DatasetInfo()  # type: ignore[attr-defined]  # made at import
        info = json_format.Parse(text, empty, ignore_unknown_fields=True)
        file_format = info.file_format or "tfrecord"
        template = naming.ShardedFileTemplate(
            dataset_name=info.name, data_dir=folder, filetype_suffix=file_format
        )
        return file_format, splits.SplitDict.from_proto(info.splits, filename_template=template)
    except Exception as error:  # It documents no error of its own.
        raise InputError(f"{spec}: {folder / _DESCRIPTION} cannot be read: {error}") from error


def _find_shards(spec: str, splits: Any, split: str) -> list[Shard]:  # noqa: ANN401
    """The runs of records that make up the split."""
    try:
        instructions = splits[split].file_instructions
    except Exception as error:  # It documents no error of its own.
        raise InputError(
            f"{spec}: expected a split of {name_some(sorted(splits))}, or slices of them such as "
            f"train[:50%]+test, found {split!r}"
        ) from error
    shards = [
        Shard(i.filename, i.skip, i.take, i.examples_in_shard) for i in instructions if i.take
    ]
    if not shards:
        raise InputError(f"{spec}: expected images, found an empty slice")
    if missing := [s.filename for s in shards if not as_path(s.filename).is_file()]:
        raise InputError(f"{spec}: files of the data set are missing: {name_some(missing)}")
    return shards


def _make_features(spec: str, folder: epath.Path) -> Any:  # noqa: ANN401
    """The image, and the class where there is one; no other feature of the description is looked at."""
    import tensorflow_datasets as tfds

    described = _read_features(spec, folder)
    chosen = {
        name: described[name]
        for name, known in _KNOWN_FEATURES.items()
        if _class_of(described.get(name)) == known
    }
    if "image" not in chosen:
        found = name_some(sorted(described)) or "none"
        raise InputError(f"{spec}: expected a feature 'image' that is an image, found {found}")
    try:
        features = {n: tfds.features.FeatureConnector.from_json(f) for n, f in chosen.items()}
        for name, feature in features.items():
            feature.load_metadata(folder, feature_name=name)
        return tfds.features.FeaturesDict(features)
    except Exception as error:  # It documents no error of its own.
        raise InputError(f"{spec}: {folder / _FEATURES} cannot be read: {error}") from error


def _read_features(spec: str, folder: epath.Path) -> Mapping[str, Any]:
    """What the description says of each feature; older versions of TFDS put it elsewhere."""
    text = read_file(folder / _FEATURES, max_bytes=_MAX_DESCRIPTION_BYTES)
    try:
        features = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{spec}: {folder / _FEATURES} is no JSON: {error}") from error
    for key in ("featuresDict", "content", "features"):
        if isinstance(features, Mapping) and key in features:
            features = features[key]
    return features if isinstance(features, Mapping) else {}


def _class_of(feature: Any) -> str | None:  # noqa: ANN401
    if not isinstance(feature, Mapping):
        return None
    # Whichever of them TFDS looks at, it finds the one that is known.
    names = {
        feature[key] for key in ("type", "pythonClassName", "python_class_name") if key in feature
    }
    return names.pop() if len(names) == 1 else None


def _open_records(spec: str, file_format: str, shards: Sequence[Shard]) -> RandomAccess:
    if file_format == "tfrecord":
        return TfRecords(shards)
    if file_format != "array_record":
        raise InputError(
            f"{spec}: expected a data set in array_record or tfrecord files, found {file_format}; "
            "prepare it again with file_format='array_record'"
        )
    _require(spec, "array_record", "array_record")
    from array_record.python import array_record_data_source as array_record

    return array_record.ArrayRecordDataSource(shards)  # type: ignore[arg-type]  # reads these fields
