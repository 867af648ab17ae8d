"""Records that are dicts: of objects with the protocol, and of the packages where they are installed."""

import numpy as np
import pytest
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images.arrays import MAX_IMAGES
from jaxfid.images.identity import identify_source
from jaxfid.images.sources import open_source
from tests.images.files import encode_png, make_images, read_all

IMAGES = make_images(4)
LABELS = [0, 1, 1, 0]
KINDS = {
    "array": lambda image: image,
    "pillow": Image.fromarray,
    "bytes": encode_png,
    "dict of bytes": lambda image: {"bytes": encode_png(image), "path": None},
}


class Records:
    """What Grain calls a random access data source; knows which were read."""

    def __init__(self, make, image="image", label="label"):
        self.make, self.names, self.read = make, (image, label), set()

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        self.read.add(index)
        image, label = self.names
        found = {"id": "x", image: self.make(IMAGES[index]), label: np.int64(LABELS[index])}
        return found


@pytest.mark.parametrize("kind", KINDS)
def test_records_give_images_and_classes(kind):
    records = Records(KINDS[kind])
    source = open_source(records)
    assert records.read == {0}
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.labels == ["0", "1", "1", "0"]
    spooled = open_source(iter([records[index] for index in range(4)]))
    np.testing.assert_array_equal(read_all(spooled), IMAGES)
    assert spooled.labels == source.labels


@pytest.mark.parametrize(("image", "label"), [("jpg", "cls"), ("img", "class")])
def test_usual_names_are_known(image, label):
    source = open_source(Records(encode_png, image, label))
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.labels == ["0", "1", "1", "0"]


def test_other_names_are_given():
    records = Records(encode_png, "pixels", "breed")
    source = open_source(records, image_key="pixels", label_key="breed")
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.labels == ["0", "1", "1", "0"]
    assert open_source(records, image_key="pixels").labels is None
    with pytest.raises(
        InputError, match="expected image_key, the name of the image; its records have"
    ):
        open_source(records)
    with pytest.raises(
        InputError, match=r"expected x as image_key; .* the names id, pixels, breed"
    ):
        open_source(records, image_key="x")
    with pytest.raises(InputError, match="expected x as label_key"):
        open_source(records, image_key="pixels", label_key="x")
    # The only image among other things needs no name.
    assert len(open_source(Records(Image.fromarray, "pixels", "breed"))) == 4


def test_what_is_no_record_is_named():
    filtered = [None, {"image": IMAGES[0]}]
    with pytest.raises(
        InputError, match="found NoneType; of a filtered MapDataset give to_iter_dataset"
    ):
        open_source(filtered)
    gap = open_source([{"image": IMAGES[0]}, None])
    with pytest.raises(
        InputError, match=r"list of 2 records\[1\]: expected a dict, found NoneType"
    ):
        gap.read(1)
    with pytest.raises(InputError, match="item 1: expected a dict, found ndarray"):
        open_source(iter([{"image": IMAGES[0]}, IMAGES[0]]))
    with pytest.raises(InputError, match="expected a record with image, found one without"):
        open_source([{"image": IMAGES[0]}, {}]).read(1)
    with pytest.raises(InputError, match="label_key: expected records"):
        open_source(IMAGES, label_key="label")


def test_an_endless_sequence_is_refused_before_it_is_read():
    class Endless(Records):
        def __len__(self):
            return 2**62  # as Grain's `repeat` without a number

    with pytest.raises(InputError, match=f"expected at most {MAX_IMAGES:,} images"):
        open_source(Endless(encode_png))


def test_encoded_images_need_no_dict():
    np.testing.assert_array_equal(read_all(open_source(list(map(encode_png, IMAGES)))), IMAGES)


def test_grain():
    grain = pytest.importorskip("grain.python")
    data_set = grain.MapDataset.source(Records(encode_png))
    source = open_source(data_set)
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.labels == ["0", "1", "1", "0"]
    shuffled = open_source(data_set.shuffle(seed=1))
    assert sorted(map(np.sum, read_all(shuffled))) == sorted(map(np.sum, IMAGES))
    kept = data_set.filter(lambda record: record["label"] == 1)
    np.testing.assert_array_equal(read_all(open_source(kept.to_iter_dataset())), IMAGES[1:3])
    with pytest.raises(InputError, match="give to_iter_dataset"):
        read_all(open_source(kept))
    with pytest.raises(InputError, match="expected at most"):
        open_source(data_set.repeat())


@pytest.fixture
def data_set():
    datasets = pytest.importorskip("datasets")
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    columns = {"image": [Image.fromarray(image) for image in IMAGES], "label": LABELS}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_hugging_face(data_set, tmp_path):
    source = open_source(data_set)
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.labels == ["cat", "dog", "dog", "cat"]
    same = identify_source(source)
    np.testing.assert_array_equal(read_all(open_source(data_set.to_iterable_dataset())), IMAGES)
    data_set.save_to_disk(tmp_path / "set")
    kept = open_source(f"hf:{tmp_path}/set")
    np.testing.assert_array_equal(read_all(kept), IMAGES)
    assert kept.labels == source.labels
    assert (
        identify_source(kept) == same != identify_source(open_source(data_set.select([0, 1, 3, 2])))
    )
    with pytest.raises(InputError, match=f"give it as hf:{tmp_path}/set"):
        open_source(tmp_path / "set")


def test_hugging_faces_splits_are_chosen(data_set, tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": data_set, "test": data_set}).save_to_disk(tmp_path / "sets")
    np.testing.assert_array_equal(read_all(open_source(f"hf:{tmp_path}/sets/test")), IMAGES)
    with pytest.raises(InputError, match=f"choose one of hf:{tmp_path}/sets/train, hf:.*/test"):
        open_source(f"hf:{tmp_path}/sets")
    with pytest.raises(InputError, match="expected a folder that save_to_disk of datasets wrote"):
        open_source(f"hf:{tmp_path}/none")
    with pytest.raises(InputError, match="copy it here first"):
        open_source("hf:memory://sets")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs the package datasets; pip install datasets"):
        open_source("hf:set")
