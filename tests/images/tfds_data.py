"""Small data sets on disk, prepared as TensorFlow Datasets prepares them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorboardX.record_writer import RecordWriter

CLASSES = ("cat", "dog")
FEATURES = {
    "image": tfds.features.Image(encoding_format="png"),
    "label": tfds.features.ClassLabel(names=CLASSES),
    "boxes": tfds.features.Sequence(tfds.features.BBoxFeature()),  # to be left unread
}


def write_data_set(
    data_dir: Path,
    splits: Mapping[str, Sequence[bytes]],
    *,
    version: str = "1.0.0",
    config: str | None = None,
    features: Mapping[str, tfds.features.FeatureConnector] = FEATURES,
) -> Path:
    """Prepares data set `pets` from encoded images, labelled cat, dog, cat ...; returns its folder."""

    class Pets(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self):
            spec = tfds.features.FeaturesDict(dict(features))
            return tfds.core.DatasetInfo(builder=self, features=spec, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(images) for split, images in splits.items()}

        def _generate_examples(self, images):
            box = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
            for i, image in enumerate(images):
                example = {"image": image, "label": i % 2, "boxes": [box] * i}
                yield i, {name: example.get(name, image) for name in features}

    builder = Pets(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def convert_to_tfrecord(folder: Path) -> Path:
    """Writes a prepared data set's records anew as TFRecord files, by another library's writer."""
    for path in folder.glob("*.array_record-*"):
        writer = RecordWriter(str(path).replace("array_record", "tfrecord"))
        for record in ArrayRecordDataSource(str(path)):
            writer.write(record)
        writer.close()
        path.unlink()
    rename_format(folder, "tfrecord")
    return folder


def rename_format(folder: Path, file_format: str) -> None:
    """Makes a data set's description say another file format."""
    description = folder / "dataset_info.json"
    fields = json.loads(description.read_text())
    description.write_text(json.dumps(fields | {"fileFormat": file_format}))
