"""Classes scored by themselves and together."""

import dataclasses
import json

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics
from jaxfid.extraction.image_set import open_image_set
from jaxfid.images.sources import open_source
from jaxfid.report.tables import format_classes
from jaxfid.result import Result
from jaxfid.scoring.per_class import find_classes, score_per_class
from jaxfid.settings import Settings
from tests.images.files import encode_png, write_folder
from tests.images.tfds_data import write_data_set
from tests.tiny import TINY

SETTINGS = {"weights": "untrained", "dims": 64, "batch_size": 16}
# Classes of unequal size, mixed in the order of the files: x/ and y/, and z/w/ one folder deeper.
SIZES = {"x": 9, "y": 5, "z/w": 14}


def write_classes(root, *, seed, contrast=255):
    rng = np.random.default_rng(seed)
    files = {}
    for number, (name, count) in enumerate(SIZES.items()):
        for i in range(count):
            pixels = rng.integers(0, contrast, (10, 10, 3), dtype=np.uint8)
            pixels[..., number] //= 2
            files[f"{name}/{i}.png"] = encode_png(pixels)
    return write_folder(root, files)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("classes")
    return write_classes(root / "real", seed=0), write_classes(root / "fake", seed=1, contrast=180)


@pytest.fixture(scope="module")
def scored(folders):
    real, fake = folders
    return compute_metrics(real, [fake, real], per_class=True, **SETTINGS)


def test_together_is_what_the_whole_sets_score(folders, scored):
    real, fake = folders
    whole = compute_metrics(real, [fake], **SETTINGS).results[0]
    together = scored.results[0]
    assert together.num_images == whole.num_images == 28
    # The same sums, added up in another order.
    assert together.metrics["fid"].value == pytest.approx(whole.metrics["fid"].value, rel=1e-9)
    assert scored.results[1].metrics["fid"].value == pytest.approx(0, abs=1e-9)
    assert scored.reference["num_images"] == 28


def test_each_class_is_what_its_folder_scores(folders, scored):
    real, fake = folders
    classes = scored.results[0].classes
    assert list(classes) == list(SIZES)
    alone = compute_metrics(real / "y", [fake / "y"], **SETTINGS).results[0]
    assert classes["y"].num_images == 5
    assert classes["y"].metrics["fid"].value == pytest.approx(alone.metrics["fid"].value, rel=1e-9)
    values = [of.metrics["fid"].value for of in classes.values()]
    assert len({round(value, 6) for value in values}) == 3
    assert scored.results[0].class_means == {"fid": pytest.approx(np.mean(values), rel=1e-12)}


def test_result_comes_back_from_json(scored):
    again = Result.from_json(scored.to_json())
    assert again.results[0].classes["x"].metrics["fid"].value == (
        scored.results[0].classes["x"].metrics["fid"].value
    )
    assert json.loads(scored.to_json())["results"][0]["class_means"].keys() == {"fid"}


def test_table(scored):
    head, *rows, last = format_classes(scored.results[0]).splitlines()
    assert head.split() == ["class", "images", "fid"]
    assert [row.split()[:2] for row in rows] == [["x", "9"], ["y", "5"], ["z/w", "14"]]
    mean = scored.results[0].class_means["fid"]
    assert last.split() == ["mean", "of", "3", f"{mean:.6g}"]


def test_small_classes_are_warned_of_once(scored):
    (warning,) = [w for w in scored.results[0].warnings if w.startswith("classes have")]
    assert "5 to 14 images for 64 features" in warning
    assert not any(of.warnings for of in scored.results[0].classes.values())


def test_labels_of_a_data_set(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 10, 10, 3), dtype=np.uint8)
    folder = write_data_set(tmp_path, {"test": [encode_png(image) for image in images]})
    files = {
        f"{'cat' if i % 2 == 0 else 'dog'}/{i}.png": encode_png(x) for i, x in enumerate(images)
    }
    settings = Settings(**SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder.parents[1]))
        labelled = open_image_set("tfds:pets/test")
    assert find_classes(labelled) == {"cat": [0, 2, 4], "dog": [1, 3, 5]}
    foldered = open_image_set(write_folder(tmp_path / "folder", files))
    result = score_per_class(labelled, [foldered], settings)
    for of in result.results[0].classes.values():
        assert of.metrics["fid"].value == pytest.approx(0, abs=1e-9)


def test_classes_that_differ_are_named(folders, tmp_path):
    real, _ = folders
    files = {
        f"{name}/{i}.png": encode_png(np.zeros((4, 4, 3), np.uint8))
        for name in ("x", "v")
        for i in (0, 1)
    }
    other = write_folder(tmp_path, files)
    with pytest.raises(InputError, match="without y, z/w and with v"):
        compute_metrics(real, [other], per_class=True, **SETTINGS)


def test_sets_without_classes_are_refused(folders):
    real, _ = folders
    images = np.zeros((4, 10, 10, 3), np.uint8)
    with pytest.raises(InputError, match=r"array of shape .*: expected a folder for each class"):
        compute_metrics(real, [images], per_class=True, **SETTINGS)
    with pytest.raises(InputError, match="expected a folder for each class"):
        compute_metrics(images, [real], per_class=True, **SETTINGS)


def test_metrics_of_more_than_sums_are_refused(folders):
    real, fake = folders
    with pytest.raises(InputError, match="per class Frechet distances are computed, found kid"):
        compute_metrics(real, [fake], per_class=True, **{**SETTINGS, "metrics": "fid,kid"})


def test_each_image_is_read_once(folders):
    real, fake = folders
    read = []

    class Counted(type(open_source(fake))):
        def read(self, index):
            read.append(self.keys[index])
            return super().read(index)

    source = open_source(fake)
    source.__class__ = Counted
    image_set = dataclasses.replace(open_image_set(fake), source=source)
    opened = open_image_set(real)
    score_per_class(opened, [image_set], Settings(**SETTINGS))
    assert sorted(read) == sorted(source.keys)


def test_what_the_values_give_reason_to_say_is_said_per_class_too(tmp_path):
    dark = write_classes(tmp_path / "dark", seed=0, contrast=2)
    (scored,) = compute_metrics(dark, [dark], per_class=True, extractor=TINY).results
    assert any("no other values than 0 and 1" in warning for warning in scored.warnings)
