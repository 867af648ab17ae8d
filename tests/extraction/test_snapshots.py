"""Laws of snapshots: whenever a run is killed, going on gives what would have come without."""

import os

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.extraction.snapshots import snapshot_path
from jaxfid.images.arrays import ArraySource
from jaxfid.images.identity import identify_source
from tests.extraction.interrupted import BATCH_SIZE, IMAGES, NUM_IMAGES, Fragile, Killed, run


@pytest.fixture(autouse=True)
def _snapshots_at_every_batch(monkeypatch):
    monkeypatch.setattr("jaxfid.extraction.snapshots.LARGEST_SHARE", 1e9)


def assert_same(found, expected):
    (moments, store, skipped), wanted = found, expected[1].state()
    for name, array in vars(expected[0]).items():
        # A snapshot cuts the float64 sums of 13 values below 1 elsewhere: rounding, and no more.
        np.testing.assert_allclose(getattr(moments, name), array, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(store.state()["indices"], wanted["indices"])
    np.testing.assert_array_equal(store.features(), wanted["features"])
    assert skipped == expected[2]


@pytest.fixture(scope="module")
def uninterrupted():
    return run(None, Fragile(broken=11))


@pytest.mark.parametrize("deadly", [0, 7, 8, 23, 36])
def test_killed_at_an_image_and_started_again(tmp_path, uninterrupted, deadly):
    path = tmp_path / "set.npz"
    with pytest.raises(Killed):
        run(path, Fragile(deadly=deadly, broken=11))
    assert path.exists() == (deadly >= BATCH_SIZE)
    seen_again = 0 if path.exists() else None
    assert_same(run(path, Fragile(deadly=seen_again, broken=11)), uninterrupted)


def test_killed_again_and_again(tmp_path, uninterrupted):
    path = tmp_path / "set.npz"
    for deadly in range(0, NUM_IMAGES, 3):
        with pytest.raises(Killed):
            run(path, Fragile(deadly=deadly, broken=11), every_s=(0.0, 1e-3)[deadly % 2])
    assert_same(run(path, Fragile(broken=11)), uninterrupted)


def write_half(file, **arrays):
    file.write(b"PK half of a file")


@pytest.mark.parametrize(
    ("owner", "name", "done"),
    [
        (np, "savez", write_half),
        (os, "fsync", lambda *arguments: None),
        (os, "replace", lambda *arguments: None),
        (os, "replace", os.replace),
    ],
    ids=["half written", "written", "on disk", "replaced"],
)
def test_killed_while_a_snapshot_is_written(
    tmp_path, uninterrupted, monkeypatch, owner, name, done
):
    real, calls = getattr(owner, name), []

    def dying(*arguments, **keywords):
        calls.append(name)
        (done if len(calls) == 3 else real)(*arguments, **keywords)
        if len(calls) == 3:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, dying)
        run(tmp_path / "set.npz", Fragile(broken=11))
    assert_same(run(tmp_path / "set.npz", Fragile(broken=11)), uninterrupted)


@pytest.mark.parametrize(("before", "after"), [(1, 8), (8, 2)])
def test_going_on_with_other_devices(tmp_path, uninterrupted, before, after):
    path = tmp_path / "set.npz"
    with pytest.raises(Killed):
        run(path, Fragile(deadly=20, broken=11), devices=before)
    moments, store, skipped = run(path, Fragile(broken=11), devices=after)
    # float32 of values below 1, computed by programs of other shapes
    np.testing.assert_allclose(store.features(), uninterrupted[1].features(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(moments.outer, uninterrupted[0].outer, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(moments.count, uninterrupted[0].count)
    assert skipped == uninterrupted[2]


@pytest.mark.parametrize(("before", "after"), [("device", "host"), ("host", "device")])
def test_going_on_with_sums_kept_elsewhere(tmp_path, uninterrupted, before, after):
    path = tmp_path / "set.npz"
    with pytest.raises(Killed):
        run(path, Fragile(deadly=30, broken=11), sums=before)
    assert_same(run(path, Fragile(broken=11), sums=after), uninterrupted)


@pytest.mark.parametrize(("before", "after"), [("integer", "integer"), ("host", "integer")])
def test_going_on_with_sums_in_whole_numbers(tmp_path, uninterrupted, before, after):
    path = tmp_path / "set.npz"
    with pytest.raises(Killed):
        run(path, Fragile(deadly=30, broken=11), sums=before)
    moments, _, _ = run(path, Fragile(broken=11), sums=after)
    # Each of some 40 values below 1 was rounded to a step of 2^-25.
    np.testing.assert_allclose(moments.outer, uninterrupted[0].outer, rtol=0, atol=40 * 2**-25)
    assert moments.count == uninterrupted[0].count


def test_each_process_goes_on_from_its_own(tmp_path, uninterrupted):
    paths = [tmp_path / f"{process}.npz" for process in range(2)]
    with pytest.raises(Killed):
        run(paths[0], Fragile(deadly=17, broken=11), share=(0, 2))
    halves = [run(path, Fragile(broken=11), share=(p, 2)) for p, path in enumerate(paths)]
    np.testing.assert_allclose(
        halves[0][0].outer + halves[1][0].outer, uninterrupted[0].outer, rtol=0, atol=1e-6
    )
    indices = np.concatenate([store.state()["indices"] for _, store, _ in halves])
    assert sorted(indices) == [i for i in range(NUM_IMAGES) if i != 11]


def test_a_finished_set_is_not_seen_again(tmp_path, uninterrupted):
    path = tmp_path / "set.npz"
    assert_same(run(path, Fragile(broken=11), every_s=3600.0), uninterrupted)
    written = path.stat().st_mtime_ns
    assert_same(run(path, Fragile(deadly=0, broken=11)), uninterrupted)
    assert path.stat().st_mtime_ns == written


def test_a_finished_set_that_is_kept_elsewhere_has_no_snapshot_of_its_own(tmp_path, uninterrupted):
    path = tmp_path / "set.npz"
    assert_same(run(path, Fragile(broken=11), every_s=3600.0, keep_finished=False), uninterrupted)
    assert not path.exists()
    with pytest.raises(Killed):  # one that is under way has
        run(path, Fragile(deadly=36, broken=11), keep_finished=False)
    assert_same(run(path, Fragile(deadly=0, broken=11), keep_finished=False), uninterrupted)


def test_snapshots_are_made_so_often_and_no_oftener(tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(Killed):
        run(path, Fragile(deadly=36), every_s=3600.0)
    assert not path.exists()


def test_what_changed_is_named_all_at_once(tmp_path):
    path = tmp_path / "set.npz"
    was = {"protocol": "clean", "listing": "0" * 64, "precision": "float32"}
    run(path, Fragile(), identity=was)
    now = {"protocol": "legacy_pytorch", "listing": "f" * 64, "precision": "float32"}
    with pytest.raises(InputError, match="another run") as caught:
        run(path, Fragile(), identity=now)
    message = str(caught.value)
    assert 'protocol was "clean", is "legacy_pytorch"' in message
    assert 'listing was "000000000000...", is "ffffffffffff..."' in message
    assert "precision" not in message


def test_a_damaged_snapshot_is_named(tmp_path):
    path = tmp_path / "set.npz"
    run(path, Fragile())
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(InputError, match=r"set\.npz cannot be read.*Delete it"):
        run(path, Fragile())
    path.write_bytes(whole.replace(b"next_batch".decode().encode("utf-32-le"), b"x" * 40))
    with pytest.raises(InputError, match=r"set\.npz cannot be read"):
        run(path, Fragile())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    path = snapshot_path(tmp_path / "file" / "folder", "images", process=0)
    with pytest.raises(InputError, match=r"file/folder/images.*: cannot be written"):
        run(path, Fragile())


def test_sets_and_processes_have_files_of_their_own(tmp_path):
    names = ["real", "samples/1000", "samples_1000", "x" * 300, "\ud800.png", "..", "real 2"]
    paths = {snapshot_path(tmp_path, name, process=p) for name in names for p in (0, 1)}
    assert len(paths) == 2 * len(names)
    assert {path.parent for path in paths} == {tmp_path}
    for path in paths:
        path.write_text("")  # every name can be one


def test_another_draw_of_an_array_is_another_set():
    other = IMAGES.copy()
    other[:] = np.random.default_rng(1).integers(0, 256, IMAGES.shape)
    first, second, again = (
        identify_source(ArraySource(images, name="a")) for images in (IMAGES, other, IMAGES.copy())
    )
    assert first == again
    assert first != second
