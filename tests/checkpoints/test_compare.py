"""Comparing checkpoints: paired, kept in a folder, resumed, watched."""

import csv
import functools
import json
import os
import shutil
import threading
import time

import jax
import numpy as np
import pytest
from PIL import Image

from jaxfid.checkpoints.compare import compare_checkpoints, compare_samples
from jaxfid.checkpoints.find import find_checkpoints
from jaxfid.checkpoints.sampler_calls import SamplerError
from jaxfid.checkpoints.sampling import draw_from
from jaxfid.checkpoints.watch import Watch
from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics, compute_stats
from jaxfid.report.run_folder import RunFolder
from jaxfid.stats.files import save_stats
from tests.checkpoints.runs import write_run
from tests.tiny import TINY

SIDE = 12
SETTINGS = {"weights": "untrained", "dims": 64, "batch_size": 16}
# More than the 64 features, so that no covariance is singular.
NUM_IMAGES = 80
DRAWING = {"num_images": NUM_IMAGES, "chunk_size": 8, "value_range": (0, 1)}
FEW = {"num_images": 40, "chunk_size": 4}
REFERENCE = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8)


def make_sample(path):
    """Noise, the darker the larger the number in the checkpoint."""
    level = float(path.read_text())

    def sample(key, n):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return rng.random((n, SIDE, SIDE, 3), np.float32) * (1 - level)

    return sample


class Counting:
    """The sampler, with its chunks counted by checkpoint, and something done at one of them."""

    def __init__(self, at=None, then=None):
        self.__qualname__ = make_sample.__qualname__  # the same to the folder
        self.chunks, self._at, self._then = {}, at, then

    def __call__(self, path):
        sample = make_sample(path)

        def counted(key, n):
            count = self.chunks[path.name] = self.chunks.get(path.name, 0) + 1
            if (path.name, count) == self._at:
                self._then(path)
            return sample(key, n)

        return counted


@pytest.fixture
def checkpoints(tmp_path):
    return write_run(tmp_path / "checkpoints", {20: 0.3, 3: 0.5})


def compare(checkpoints, out, sampler=make_sample, *, reference=REFERENCE, **options):
    options = DRAWING | SETTINGS | options
    return compare_checkpoints(reference, [checkpoints], sampler, out=out, **options)


@pytest.fixture(scope="module")
def compare_few():
    """The same with a few images against statistics, for what does not depend on the values."""
    return functools.partial(compare, reference=compute_stats(REFERENCE[:20], **SETTINGS), **FEW)


def compare_tiny(checkpoints, out, sampler=make_sample, **options):
    """The same with a network of no layers, for what does not depend on the features."""
    drawing = {"num_images": 8, "chunk_size": 4, "value_range": (0, 1), "devices": 1}
    return compare_checkpoints(
        REFERENCE[:8], [checkpoints], sampler, out=out, extractor=TINY, **drawing | options
    )


def values(entries):
    return {entry.name: entry.scores.metrics["fid"].value for entry in entries}


def read_csv(run):
    return list(csv.DictReader((run / "results.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run: its folder, its entries, and the checkpoints that it is of."""
    root = tmp_path_factory.mktemp("finished")
    folder = write_run(root / "checkpoints", {100: 0.0, 20: 0.3, 3: 0.5})
    seen = []
    entries = compare(folder, root / "run", on_entry=seen.append)
    assert seen == entries
    return root / "run", entries, folder


def test_another_network_gives_its_own_distance_and_its_paired_difference(checkpoints, tmp_path):
    entries = compare_checkpoints(
        REFERENCE, [checkpoints], make_sample, out=tmp_path / "run", extractor=TINY,
        **DRAWING,
    )  # fmt: skip
    found = {entry.step: entry.scores.metrics["fd_tiny"].value for entry in entries}
    first, second = read_csv(tmp_path / "run")
    assert found[3] > found[20]  # further from the reference's brightness
    assert float(first["fd_tiny"]) == pytest.approx(found[3], rel=1e-5)
    assert float(first["fd_tiny_difference"]) > 2 * float(first["fd_tiny_difference_stderr"])
    assert second["fd_tiny_difference"] == ""


def test_scores_are_those_of_the_drawn_images(finished):
    _, entries, folder = finished
    last = draw_from(find_checkpoints([folder])[-1], make_sample, **DRAWING)
    expected = compute_metrics(REFERENCE, [last], **SETTINGS)
    assert [entry.step for entry in entries] == [3, 20, 100]
    assert [entries[-1].scores] == expected.results
    assert list(values(entries).values()) == sorted(values(entries).values(), reverse=True)


def test_folder_holds_what_was_found(finished):
    path, entries, _ = finished
    kept = [entry.to_fields() for entry in RunFolder(path).entries]
    assert kept == json.loads(json.dumps([entry.to_fields() for entry in entries]))
    assert len((path / "results.jsonl").read_text().splitlines()) == 3
    assert not [file for file in path.rglob("*.partial")]
    # Of the sets nothing is kept for going on; of the reference it is, for the next start.
    assert len(list((path / "progress").iterdir())) == 1
    found = json.loads((path / "results.json").read_text())
    assert found["weights"]["name"] == "untrained"
    assert found["identity"]["sampler"]["name"] == "tests.checkpoints.test_compare:make_sample"
    assert [entry["step"] for entry in found["results"]] == [3, 20, 100]
    assert {gap["best"] for gap in found["comparisons"]} == {"step100.msgpack"}


def test_csv_has_values_error_bars_and_paired_differences(finished):
    path, entries, _ = finished
    rows = read_csv(path)
    assert [row["step"] for row in rows] == ["3", "20", "100"]
    for row, entry in zip(rows, entries, strict=True):
        metric = entry.scores.metrics["fid"]
        assert (float(row["fid"]), float(row["fid_stderr"])) == (metric.value, metric.stderr)
    gap = float(rows[1]["fid"]) - float(rows[2]["fid"])
    assert float(rows[1]["fid_difference"]) == pytest.approx(gap, rel=1e-12)
    assert rows[2]["fid_difference"] == rows[2]["fid_conclusive"] == ""
    assert rows[1]["fid_conclusive"] == "True"


def test_pictures_are_of_the_same_noise_in_each_column(finished):
    path, entries, _ = finished
    columns = [
        [np.asarray(Image.open(path / "images" / p.file)) / 255.0 for p in entry.pictures["first"]]
        for entry in entries
    ]
    assert [len(column) for column in columns] == [12, 12, 12]
    darkest, _, plain = (np.array(column) for column in columns)
    # Half as bright, to a rounding of each to whole grey levels.
    np.testing.assert_allclose(darkest, plain * 0.5, atol=1.5 / 255)
    reference = [
        np.asarray(Image.open(path / "images" / p.file)) for p in RunFolder(path).reference_pictures
    ]
    np.testing.assert_array_equal(reference[-1], REFERENCE[-1])


def test_what_is_finished_is_not_done_again(finished):
    path, entries, folder = finished
    sampler = Counting()
    assert values(compare(folder, path, sampler)) == values(entries)
    assert sampler.chunks == {}


def test_checkpoint_that_was_written_again_is_scored_again(finished, tmp_path):
    path, entries, folder = finished
    path = shutil.copytree(path, tmp_path / "run")
    folder = shutil.copytree(folder, tmp_path / "checkpoints")
    write_run(folder, {20: 0.4})
    sampler = Counting()
    again = compare(folder, path, sampler)
    assert set(sampler.chunks) == {"step20.msgpack"}
    assert [entry.name for entry in again] == [entry.name for entry in entries]
    assert again[1].scores.metrics["fid"].value > entries[1].scores.metrics["fid"].value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_images": 81}, "number of images was 80, is 81"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"chunk_size": 9, "dims": 192}, "chunk size was 8, is 9; dims was 64, is 192"),
        ({"metrics": "fid,sfid"}, "metrics was .*, is .*sfid"),
        ({"protocol": "clean"}, '.*protocol was "legacy_tensorflow", is "clean"'),
    ],
)
def test_folder_of_another_run_is_refused(finished, change, message):
    path, _, folder = finished
    with pytest.raises(InputError, match=f"holds another comparison: {message}.*another folder"):
        compare(folder, path, **change)


def test_other_reference_is_refused(finished):
    path, _, folder = finished
    other = REFERENCE.copy()
    other[0] ^= 1
    with pytest.raises(InputError, match="holds another comparison: reference content was"):
        compare_checkpoints(other, [folder], make_sample, out=path, **DRAWING, **SETTINGS)


def test_killed_run_goes_on_inside_the_checkpoint(tmp_path, checkpoints, compare_few, monkeypatch):
    monkeypatch.setattr(
        "jaxfid.extraction.snapshots.LARGEST_SHARE", 1e9
    )  # a snapshot after each batch

    def kill(path):
        raise KeyboardInterrupt

    options = {"resume_every_s": 0, "batch_size": 4, "devices": 1, "num_workers": 0}
    with pytest.raises(KeyboardInterrupt):
        compare_few(checkpoints, tmp_path / "run", Counting(("step20.msgpack", 9), kill), **options)
    assert [entry.step for entry in RunFolder(tmp_path / "run").entries] == [3]
    sampler = Counting()
    resumed = compare_few(checkpoints, tmp_path / "run", sampler, **options)
    # Two chunks for the pictures; then of ten the four that the killed run, ended at its seventh, lacks.
    assert sampler.chunks == {"step20.msgpack": 2 + 4}
    whole = compare_few(checkpoints, tmp_path / "whole", **options)
    assert values(resumed) == values(whole)


def test_values_depend_on_neither_devices_nor_batch_size(tmp_path, checkpoints, compare_few):
    runs = [
        compare_few(checkpoints, tmp_path / f"{devices}", devices=devices, batch_size=batch_size)
        for devices, batch_size in ((1, 3), (8, 16))
    ]
    # What is left is the order of float64 sums, and of the network's float32 ones.
    assert values(runs[0]) == pytest.approx(values(runs[1]), rel=1e-6)


def test_images_that_are_not_finite_leave_the_other_checkpoints(tmp_path, checkpoints, compare_few):
    write_run(checkpoints, {20: "nan"})
    entries = compare_few(checkpoints, tmp_path / "run")
    assert [entry.scores is None for entry in entries] == [False, True]
    assert " at step20.msgpack: " in entries[1].failure
    assert "the sampler gave NaN" in entries[1].failure
    rows = read_csv(tmp_path / "run")
    assert "NaN" in rows[1]["failure"]
    write_run(checkpoints, {20: 0.3})
    assert all(entry.scores for entry in compare_few(checkpoints, tmp_path / "run"))


def test_watching_scores_checkpoints_as_they_come(tmp_path, compare_few):
    folder = tmp_path / "checkpoints"
    watch = Watch(timeout_s=3, poll_s=0.05, settle_s=0.2)

    def train():
        time.sleep(0.3)
        write_run(folder, {1: 0.5})
        while not (tmp_path / "run/results.jsonl").exists():
            time.sleep(0.05)
        write_run(folder, {2: 0.3})

    training = threading.Thread(target=train)
    training.start()
    entries = compare_few(folder, tmp_path / "run", watch=watch)
    training.join()
    assert [entry.step for entry in entries] == [1, 2]


def test_checkpoint_that_still_changes_is_left_until_it_settles(tmp_path, checkpoints, compare_few):
    future = time.time() + 1000
    os.utime(checkpoints / "step20.msgpack", (future, future))
    os.utime(checkpoints / "step3.msgpack", (0, 1000))
    watch = Watch(timeout_s=0.1, poll_s=0.05, settle_s=3600)
    entries = compare_few(checkpoints, tmp_path / "run", watch=watch)
    assert [entry.step for entry in entries] == [3]


def test_checkpoint_that_is_deleted_before_it_is_loaded_is_passed_over(
    tmp_path, checkpoints, compare_few
):
    sampler = Counting(("step3.msgpack", 1), lambda path: (checkpoints / "step20.msgpack").unlink())
    entries = compare_few(checkpoints, tmp_path / "run", sampler)
    assert [entry.step for entry in entries] == [3]


def load_strictly(path):
    """A sampler whose loader refuses an empty file, as those of most libraries do."""
    if not path.read_text():
        raise ValueError("the file is empty")
    return make_sample(path)


def test_checkpoint_that_cannot_be_loaded_leaves_the_others(tmp_path, checkpoints):
    (checkpoints / "step10.msgpack").touch()
    entries = compare_tiny(checkpoints, tmp_path / "run", load_strictly)
    assert [(entry.step, entry.scores is None) for entry in entries] == [
        (3, False), (10, True), (20, False),
    ]  # fmt: skip
    start = (
        "sampler tests.checkpoints.test_compare:load_strictly at step10.msgpack: called as sampler("
    )
    assert entries[1].failure.startswith(start)
    assert "ValueError: the file is empty (test_compare.py:" in entries[1].failure
    with pytest.raises(SamplerError, match="the file is empty"):
        compare_tiny(checkpoints, tmp_path / "fast", load_strictly, fail_fast=True)


def test_closure_needs_a_name_of_the_users(tmp_path, checkpoints):
    def mine(path):
        return make_sample(path)

    with pytest.raises(InputError, match=r"mine, which holds values .*; give sampler_id="):
        compare_tiny(checkpoints, tmp_path / "run", mine)
    assert len(compare_tiny(checkpoints, tmp_path / "run", mine, sampler_id="mine")) == 2
    with pytest.raises(InputError, match=r"sampler id was .mine., is .other."):
        compare_tiny(checkpoints, tmp_path / "run", mine, sampler_id="other")


def test_first_run_that_fails_leaves_the_folder_free(tmp_path, checkpoints):
    with pytest.raises(InputError, match=r"value_range: .* could be in any range"):
        compare_tiny(checkpoints, tmp_path / "run", value_range=None)
    assert len(compare_tiny(checkpoints, tmp_path / "run")) == 2


def test_values_outside_the_stated_range_are_remarked_on(tmp_path, checkpoints):
    entries = compare_tiny(checkpoints, tmp_path / "run", value_range=(-1, 1))
    assert [w for w in entries[0].scores.warnings if "step3.msgpack: the first images hold" in w]


def test_folder_in_use_is_refused(tmp_path, checkpoints):
    def compare_again(path):
        with pytest.raises(InputError, match="in use by a comparison"):
            compare_tiny(checkpoints, tmp_path / "run")

    sampler = Counting(("step3.msgpack", 1), compare_again)
    assert len(compare_tiny(checkpoints, tmp_path / "run", sampler)) == 2


def test_no_checkpoints(tmp_path):
    with pytest.raises(InputError, match="checkpoints: found none in"):
        compare(tmp_path, tmp_path / "run")


def test_sets_sampled_before(finished, tmp_path):
    _, entries, folder = finished
    source = draw_from(find_checkpoints([folder])[1], make_sample, **DRAWING)
    np.save(tmp_path / "20.npy", [source.read(i) for i in range(NUM_IMAGES)])
    save_stats(tmp_path / "stats1.npz", compute_stats(tmp_path / "20.npy", **SETTINGS))
    paths = [tmp_path / "20.npy", tmp_path / "stats1.npz"]
    sampled = compare_samples(REFERENCE, paths, out=tmp_path / "run", **SETTINGS)
    assert [entry.name for entry in sampled] == ["stats1.npz", "20.npy"]
    stats, images = (entry.scores.metrics["fid"] for entry in sampled)
    expected = entries[1].scores.metrics["fid"]
    # The order of the blocks' sums apart, the same.
    assert [stats.value, images.value] == pytest.approx([expected.value] * 2, rel=1e-12)
    assert (stats.stderr, images.stderr) == (None, pytest.approx(expected.stderr, rel=1e-9))
    assert [len(e.pictures.get("first", [])) for e in sampled] == [0, 12]
    assert len(list((tmp_path / "run/progress").iterdir())) == 1
