"""Data sets of TensorFlow Datasets, in an environment that has no TensorFlow."""

import importlib.util
import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from tensorboardX.crc32c import crc32c as reference_crc32c
from tensorboardX.record_writer import masked_crc32c

from jaxfid.errors import InputError
from jaxfid.images.batches import Batches
from jaxfid.images.crc32c import crc32c, unmask_crc
from jaxfid.images.sources import open_source
from jaxfid.images.tfds import open_tfds
from tests.images.files import encode_png, make_images
from tests.images.tfds_data import FEATURES, convert_to_tfrecord, rename_format, write_data_set

IMAGES = make_images(10)
PNGS = [encode_png(image) for image in IMAGES]
SPLITS = {"test": PNGS[:4], "train": PNGS[4:]}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = write_data_set(tmp_path_factory.mktemp("prepared"), SPLITS)
    return folder.parents[1]


@pytest.fixture(params=["array_record", "tfrecord"])
def data_dir(request, prepared, tmp_path, monkeypatch):
    copied = shutil.copytree(prepared, tmp_path / "data")
    if request.param == "tfrecord":
        convert_to_tfrecord(copied / "pets/1.0.0")
    monkeypatch.setenv("TFDS_DATA_DIR", str(copied))
    return copied


@pytest.mark.parametrize(
    ("split", "positions"),
    [
        ("test", range(4)),
        ("train[50%:]", range(7, 10)),
        ("test[1:3]+train[:2]", [1, 2, 4, 5]),
    ],
)
def test_split_is_its_images_in_order(data_dir, split, positions):
    source = open_source(f"tfds:pets/{split}")
    assert source.name == f"tfds:pets/{split}"
    assert len(source) == len(positions)
    for index in reversed(range(len(source))):
        np.testing.assert_array_equal(source.read(index), IMAGES[positions[index]])


def test_labels_are_the_class_names(data_dir):
    source = open_source("tfds:pets/test+train[1:2]")
    assert source.labels == ["cat", "dog", "cat", "dog", "dog"]
    assert source.take([4, 0]).labels == ["dog", "cat"]


def test_records_are_read_from_several_threads(data_dir):
    source = open_source("tfds:pets/train")
    batches = Batches(source, batch_size=4, num_workers=3, prepare=lambda image: image)
    images = np.concatenate([batch.images[batch.mask][:, :5, :7] for batch in batches])
    np.testing.assert_array_equal(images, IMAGES[4:])


def test_digest_tells_splits_apart_and_not_folders(data_dir, tmp_path):
    moved = shutil.copytree(data_dir, tmp_path / "moved")
    specs = ("test", "train", "train[:3]", "train[3:]")
    digests = [open_source(f"tfds:pets/{split}").digest() for split in specs]
    assert len(set(digests)) == 4
    assert [open_tfds(f"tfds:pets/{s}", data_dir=moved).digest() for s in specs] == digests


def test_replaced_file_of_the_same_size_is_another_set(data_dir):
    first = open_source("tfds:pets/test").digest()
    (path,) = data_dir.glob("pets/1.0.0/pets-test*")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert open_source("tfds:pets/test").digest() != first


def test_no_tensorflow_and_no_jax_is_imported(data_dir):
    assert importlib.util.find_spec("tensorflow") is None
    code = (
        "import sys; from jaxfid.images.sources import open_source as o; o('tfds:pets/test').read(0); "
        "sys.exit('tensorflow' in sys.modules or 'jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_latest_version_unless_one_is_named(tmp_path):
    for version, splits in (("9.0.0", {"test": PNGS[:2]}), ("10.0.0", {"test": PNGS[2:5]})):
        write_data_set(tmp_path, splits, version=version)
    assert len(open_tfds("tfds:pets/test", data_dir=tmp_path)) == 3
    assert len(open_tfds("tfds:pets:9.0.0/test", data_dir=tmp_path)) == 2
    with pytest.raises(InputError, match=r"expected one of 10\.0\.0, 9\.0\.0, found 3\.0\.0"):
        open_tfds("tfds:pets:3.0.0/test", data_dir=tmp_path)


def test_configuration_is_named_where_there_are_some(tmp_path):
    write_data_set(tmp_path, {"test": PNGS[:3]}, config="small")
    assert len(open_tfds("tfds:pets/small/test", data_dir=tmp_path)) == 3
    assert len(open_tfds("tfds:pets/small:1.0.0/test[:1]", data_dir=tmp_path)) == 1
    with pytest.raises(InputError, match="choose one of its configurations: small"):
        open_tfds("tfds:pets/test", data_dir=tmp_path)


def test_data_set_without_classes_has_no_labels(tmp_path):
    write_data_set(tmp_path, {"test": PNGS[:2]}, features={"image": FEATURES["image"]})
    source = open_tfds("tfds:pets/test", data_dir=tmp_path)
    assert source.labels is None
    np.testing.assert_array_equal(source.read(1), IMAGES[1])


def test_data_set_without_images_is_refused(tmp_path):
    write_data_set(tmp_path, {"test": PNGS[:2]}, features={"label": FEATURES["label"]})
    with pytest.raises(
        InputError, match="expected a feature 'image' that is an image, found label"
    ):
        open_tfds("tfds:pets/test", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tfds:pets", r"expected tfds:NAME\[/CONFIG\]\[:VERSION\]/SPLIT"),
        (
            "tfds:birds/test",
            r"prepared in .*, found pets\. Set TFDS_DATA_DIR, or prepare it: python",
        ),
        ("tfds:pets/nope", r"a split of test, train, or slices of them .* found 'nope'"),
        ("tfds:pets/train[", r"a split of test, train, or slices of them .* found 'train\['"),
        ("tfds:pets/train[2:2]", "found an empty slice"),
    ],
)
def test_what_is_not_there_is_named(data_dir, spec, message):
    with pytest.raises(InputError, match=message):
        open_source(spec)


def test_missing_folder_and_missing_files(data_dir, tmp_path):
    with pytest.raises(InputError, match="found nothing there"):
        open_tfds("tfds:pets/test", data_dir=tmp_path / "absent")
    for path in data_dir.glob("pets/1.0.0/pets-train*"):
        path.unlink()
    assert len(open_source("tfds:pets/test")) == 4
    with pytest.raises(InputError, match=r"files of the data set are missing: .*pets-train"):
        open_source("tfds:pets/train")


def test_other_file_formats_are_refused_with_the_remedy(data_dir):
    rename_format(data_dir / "pets/1.0.0", "riegeli")
    for path in data_dir.glob("pets/1.0.0/pets-*"):
        path.rename(str(path).replace("array_record", "riegeli").replace("tfrecord", "riegeli"))
    with pytest.raises(InputError, match="found riegeli; prepare it again with file_format="):
        open_source("tfds:pets/test")


@pytest.mark.parametrize(
    ("module", "package"),
    [("tensorflow_datasets", "tensorflow-datasets"), ("array_record", "array_record")],
)
def test_missing_package_names_the_extra(prepared, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else name)
    with pytest.raises(InputError, match=rf"needs the package {package}; pip install .*{package}"):
        open_tfds("tfds:pets/test", data_dir=prepared)


def test_damaged_image_names_the_record(tmp_path):
    write_data_set(tmp_path, {"test": [PNGS[0], PNGS[1][:-40]]})
    source = open_tfds("tfds:pets/test", data_dir=tmp_path)
    with pytest.raises(InputError, match="tfds:pets/test record 1: expected a whole image"):
        source.read(1)


def test_damaged_array_record_names_the_record(tmp_path):
    folder = write_data_set(tmp_path, {"test": PNGS})
    (path,) = folder.glob("pets-test*")
    data = bytearray(path.read_bytes())
    used = data.index(bytes(1000))  # what comes before the padding of its first block
    data[used // 2 : used // 2 + 20] = bytes(20)
    path.write_bytes(data)
    source = open_tfds("tfds:pets/test", data_dir=tmp_path)
    np.testing.assert_array_equal(source.read(0), IMAGES[0])
    with pytest.raises(
        InputError, match=r"tfds:pets/test: record \d cannot be read: .*hash mismatch"
    ):
        [source.read(index) for index in range(10)]


def test_tfrecord_that_is_no_example_names_the_record(prepared, tmp_path):
    folder = convert_to_tfrecord(shutil.copytree(prepared / "pets/1.0.0", tmp_path / "pets/1.0.0"))
    (path,) = folder.glob("pets-test*")
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    data[12:40] = b"\xff" * 28
    data[12 + length : 16 + length] = mask_crc(crc32c(bytes(data[12 : 12 + length])))
    path.write_bytes(data)
    source = open_tfds("tfds:pets/test", data_dir=tmp_path)
    np.testing.assert_array_equal(source.read(1), IMAGES[1])
    with pytest.raises(InputError, match="tfds:pets/test: record 0 cannot be read"):
        source.read(0)


def mask_crc(crc):
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("position", "found"),
    [
        (3, "checksum of a record's length does not fit, at byte 0"),
        (100, "checksum of record 0 does not fit"),
    ],
)
def test_tfrecord_with_a_changed_bit_is_refused(prepared, tmp_path, position, found):
    folder = convert_to_tfrecord(shutil.copytree(prepared / "pets/1.0.0", tmp_path / "pets/1.0.0"))
    (path,) = folder.glob("pets-test*")
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"pets-test.*: corrupt, the {found}"):
        open_tfds("tfds:pets/test", data_dir=tmp_path).read(0)


def test_module_that_a_description_names_is_not_imported(prepared, tmp_path, monkeypatch):
    folder = shutil.copytree(prepared / "pets/1.0.0", tmp_path / "pets/1.0.0")
    (tmp_path / "hostile_features.py").write_text("raise SystemExit('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    described = json.loads((folder / "features.json").read_text())
    features = described["featuresDict"]["features"]
    features["boxes"] = {"pythonClassName": "hostile_features.Boxes"}
    described["pythonClassName"] = "hostile_features.Dict"
    (folder / "features.json").write_text(json.dumps(described))
    np.testing.assert_array_equal(open_tfds("tfds:pets/test", data_dir=tmp_path).read(1), IMAGES[1])
    features["label"]["pythonClassName"] = "hostile_features.Label"
    (folder / "features.json").write_text(json.dumps(described))
    assert open_tfds("tfds:pets/test", data_dir=tmp_path).labels is None
    for key in ("type", "pythonClassName", "python_class_name"):
        features["image"][key] = "hostile_features.Image"
        (folder / "features.json").write_text(json.dumps(described))
        with pytest.raises(InputError, match="expected a feature 'image' that is an image"):
            open_tfds("tfds:pets/test", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"[]", b"\xff", b'{"splits": 3}'])
def test_damaged_description_is_named(prepared, tmp_path, name, content):
    folder = shutil.copytree(prepared / "pets/1.0.0", tmp_path / "pets/1.0.0")
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=r"^tfds:pets/test: "):
        open_tfds("tfds:pets/test", data_dir=tmp_path)


def test_description_of_the_older_kind(prepared, tmp_path):
    folder = shutil.copytree(prepared / "pets/1.0.0", tmp_path / "pets/1.0.0")
    core = "tensorflow_datasets.core.features"
    image = {
        "encoding_format": "png",
        "shape": [None, None, 3],
        "dtype": "uint8",
        "use_colormap": False,
    }
    content = {
        "image": {"type": f"{core}.image_feature.Image", "content": image},
        "label": {"type": f"{core}.class_label_feature.ClassLabel", "content": {"num_classes": 2}},
    }
    described = {"type": f"{core}.features_dict.FeaturesDict", "content": content}
    (folder / "features.json").write_text(json.dumps(described))
    source = open_tfds("tfds:pets/test", data_dir=tmp_path)
    assert source.labels == ["cat", "dog", "cat", "dog"]
    np.testing.assert_array_equal(source.read(1), IMAGES[1])


@pytest.mark.parametrize("length", [0, 1, 3, 63, 64, 65, 127, 4097, 100_000])
def test_crc32c_is_that_of_another_library(length):
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == reference_crc32c(data)
    assert struct.pack("<I", masked_crc32c(data)) == mask_crc(crc32c(data))
    assert unmask_crc(masked_crc32c(data)) == crc32c(data)


def test_tfrecord_cut_off_or_of_another_length(prepared, tmp_path):
    folder = convert_to_tfrecord(shutil.copytree(prepared / "pets/1.0.0", tmp_path / "pets/1.0.0"))
    (path,) = folder.glob("pets-test*")
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    with pytest.raises(
        InputError, match=r"pets-test.*: expected a whole TFRecord file, found one cut"
    ):
        open_tfds("tfds:pets/test", data_dir=tmp_path).read(0)
    path.write_bytes(data + data)
    with pytest.raises(InputError, match=r"pets-test.*: expected 4 records, found 8"):
        open_tfds("tfds:pets/test", data_dir=tmp_path).read(0)
