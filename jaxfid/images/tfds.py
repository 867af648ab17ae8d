"""Data sets that TensorFlow Datasets prepared on this machine, read without TensorFlow."""

import functools
import hashlib
import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.arrays import make_position_keys
from jaxfid.images.decode import decode_image
from jaxfid.images.interface import ImageSource, name_some
from jaxfid.images.tfrecord import Shard, TfRecords

SCHEME = "tfds:"

_SPEC = re.compile(
    r"tfds:(?P<name>\w+)(/(?P<config>[^:/\[\]]+))?(:(?P<version>\d+\.\d+\.\d+))?/(?P<split>[^/]+)"
)
_DESCRIPTION = "dataset_info.json"


class TfdsSource(ImageSource):
    """The images of a split of a prepared data set, in the order of its records.

    The images are decoded by the same rules as files are, not by TensorFlow.
    """

    def __init__(self, name: str, *, records: Sequence[bytes], features: Any, stamp: str) -> None:  # noqa: ANN401
        """Takes a split's records, the features to be read of each, and what identifies their content."""
        self.name = name
        self.keys = make_position_keys(len(records))
        self._records, self._features, self._stamp = records, features, stamp

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

    def stamp(self, index: int) -> str:
        """Returns what identifies the split's files, the same for every record."""
        return self._stamp

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
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    folder = _find_version(spec, root, parts["name"], parts["config"], parts["version"])
    _require(spec, "tensorflow_datasets", "tensorflow-datasets")
    import tensorflow_datasets as tfds

    info = tfds.builder_from_directory(folder).info
    shards = _find_shards(spec, info, parts["split"])
    features = tfds.features.FeaturesDict(_choose_features(spec, info.features, tfds))
    records = _open_records(spec, info.file_format.value, shards)
    return TfdsSource(spec, records=records, features=features, stamp=_make_stamp(shards))


def _require(spec: str, module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{spec}: needs the package {package}; pip install 'jaxfid[tfds]'")


def _find_version(
    spec: str, root: Path, name: str, config: str | None, version: str | None
) -> Path:
    """The folder of the version asked for, or of the latest."""
    if not (root / name).is_dir():
        here = name_some(sorted({path.name for path in root.glob("*/")} - {"downloads"}))
        raise InputError(
            f"{spec}: expected the data set prepared in {root}, found {here or 'nothing there'}. Set "
            f"TFDS_DATA_DIR, or prepare it: {_make_remedy(name, root)}"
        )
    above = root / name / (config or "")
    found = {path.parent.name: path.parent for path in above.glob(f"*/{_DESCRIPTION}")}
    if not found:
        configs = {path.parent.parent.name for path in above.glob(f"*/*/{_DESCRIPTION}")}
        remedy = f"; choose one of its configurations: {name_some(sorted(configs))}"
        raise InputError(f"{spec}: no version in {above}{remedy if configs else ''}")
    if version is not None and version not in found:
        raise InputError(f"{spec}: expected one of {name_some(sorted(found))}, found {version}")
    return found[version or max(found, key=_version_order)]


def _version_order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _make_remedy(name: str, root: Path) -> str:
    return (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{root}', file_format='array_record')"
        '.download_and_prepare()"'
    )


def _find_shards(spec: str, info: Any, split: str) -> list[Shard]:  # noqa: ANN401
    """The runs of records that make up the split."""
    try:
        instructions = info.splits[split].file_instructions
    except Exception as error:  # It documents no error of its own.
        raise InputError(
            f"{spec}: expected a split of {name_some(sorted(info.splits))}, or slices of them such as "
            f"train[:50%]+test, found {split!r}"
        ) from error
    shards = [
        Shard(i.filename, i.skip, i.take, i.examples_in_shard) for i in instructions if i.take
    ]
    if not shards:
        raise InputError(f"{spec}: expected images, found an empty slice")
    if missing := [s.filename for s in shards if not Path(s.filename).is_file()]:
        raise InputError(f"{spec}: files of the data set are missing: {name_some(missing)}")
    return shards


def _choose_features(spec: str, features: Any, tfds: Any) -> dict[str, Any]:  # noqa: ANN401
    """The image, and the class where there is one; reading no others costs nothing and fails nowhere."""
    known = dict(features.items()) if hasattr(features, "items") else {}
    image, label = known.get("image"), known.get("label")
    if not isinstance(image, tfds.features.Image):
        found = name_some(sorted(known)) or type(features).__name__
        raise InputError(f"{spec}: expected a feature 'image' that is an image, found {found}")
    labelled = isinstance(label, tfds.features.ClassLabel)
    return {"image": image, "label": label} if labelled else {"image": image}


def _open_records(spec: str, file_format: str, shards: Sequence[Shard]) -> Sequence[bytes]:
    if file_format == "tfrecord":
        return TfRecords(shards)
    if file_format != "array_record":
        raise InputError(
            f"{spec}: expected a data set in array_record or tfrecord files, found {file_format}; "
            "prepare it again with file_format='array_record'"
        )
    _require(spec, "array_record", "array_record")
    from array_record.python import array_record_data_source as array_record

    return array_record.ArrayRecordDataSource(shards)


def _make_stamp(shards: Sequence[Shard]) -> str:
    """A digest of what can be known of the shards without reading them, wherever they lie."""
    paths = [Path(shard.filename) for shard in shards]
    listing = [
        (p.name, s.skip, s.take, p.stat().st_size) for p, s in zip(paths, shards, strict=True)
    ]
    return hashlib.sha256(repr(listing).encode()).hexdigest()
