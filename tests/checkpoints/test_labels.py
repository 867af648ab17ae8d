"""Classes that a sampler is asked for: the same for every checkpoint, part of identity and error bar."""

import jax
import numpy as np
import pytest

from jaxfid.checkpoints.compare import compare_checkpoints
from jaxfid.checkpoints.labels import read_labels
from jaxfid.errors import InputError
from jaxfid.metrics.frechet.influence import influence_stderr, within_classes
from tests.tiny import TINY

SIDE = 12
REFERENCE = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
ASKED = []


def make_sample(path):
    """Noise, the brighter the higher the class."""

    def sample(key, labels):
        ASKED.append((path.name, int(jax.random.key_data(key)[-1]), labels.tolist(), labels.dtype))
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        level = np.asarray(labels, np.float32)[:, None, None, None] / 4
        return rng.random((len(labels), SIDE, SIDE, 3), np.float32) * 0.2 + level

    return sample


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for step in (1, 2):
        (tmp_path / f"checkpoints/step{step}.msgpack").write_text(str(step))
    return tmp_path


def compare(folder, labels, *, out="run", **options):
    ASKED.clear()
    drawing = {"num_images": 10, "chunk_size": 4, "value_range": (0, 1), "devices": 1}
    return compare_checkpoints(
        REFERENCE, [folder / "checkpoints"], make_sample, out=folder / out, labels=labels,
        extractor=TINY, **drawing | options,
    )  # fmt: skip


def asked_of(name):
    """The last call for each chunk: the first chunk is drawn for the pictures as well."""
    return {key: labels for path, key, labels, _ in ASKED if path == name}


def test_image_i_has_the_same_class_for_every_checkpoint(folder):
    compare(folder, "balanced:3")
    first, second = asked_of("step1.msgpack"), asked_of("step2.msgpack")
    assert first == second
    # Twelve are drawn of which ten count: the rest begins again with the first classes.
    assert [*first.values()] == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 0, 1]]
    assert {dtype for *_, dtype in ASKED} == {np.dtype(np.int32)}


def test_classes_depend_on_no_devices(folder):
    compare(folder, "balanced:3")
    alone = asked_of("step1.msgpack")
    compare(folder, "balanced:3", out="on8", devices=8)
    assert asked_of("step1.msgpack") == alone


def test_labels_come_from_a_sequence_or_a_file(folder):
    numbers = [3, 1, 3, 1, 0, 2, 0, 2, 1, 1, 3]
    np.save(folder / "labels.npy", np.array(numbers, np.int64))
    found = [
        read_labels(given, 10) for given in (numbers, np.array(numbers), folder / "labels.npy")
    ]
    assert {labels.identity for labels in found} == {found[0].identity}
    assert found[0].names() == [str(n) for n in numbers[:10]]
    assert read_labels(numbers[::-1], 10).identity != found[0].identity


def test_error_bar_is_that_of_a_stratified_sample(folder, monkeypatch):
    seen = []

    def record(influence, labels):
        seen.append((influence, labels))
        return within_classes(influence, labels)

    monkeypatch.setattr("jaxfid.metrics.frechet.metric.within_classes", record)
    labelled = compare(folder, "balanced:2", num_images=40)[0].scores.metrics["fd_tiny"]
    plain, classes = seen[0]
    assert classes.tolist() == [str(i % 2) for i in range(40)]
    assert labelled.stderr == influence_stderr(within_classes(plain, classes), 40)
    # What is kept, for differences of two rows, is within the classes as well.
    kept = np.asarray(labelled.influence, np.float64)
    assert kept == pytest.approx(within_classes(plain, classes), rel=1e-6)
    # The classes differ in brightness, which is most of the spread.
    assert labelled.stderr < influence_stderr(plain, 40) / 2


def test_other_labels_are_another_comparison(folder):
    compare(folder, "balanced:3")
    with pytest.raises(InputError, match='labels was "balanced:3", is "balanced:2"'):
        compare(folder, "balanced:2")
    with pytest.raises(InputError, match='labels was "balanced:3", is null'):
        compare(folder, None)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("balanced:0", "labels: expected balanced: and a number of classes"),
        ("balanced:x", "labels: expected balanced: and a number of classes"),
        ([1, 2], "labels: expected 10, one for each image, found 2"),
        ([-1] * 10, "labels: expected numbers from 0 to"),
        ([0.5] * 10, "labels: .* found float64"),
        ([[1], [1, 2]], "labels: expected whole numbers in one dimension"),
        (np.zeros((10, 2), int), r"labels: .* shape \(10, 2\)"),
        ("nowhere.npy", "nowhere.npy"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        read_labels(labels, 10)
