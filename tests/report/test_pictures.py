"""Pictures that are kept of a set."""

import numpy as np
import pytest
from PIL import Image

from jaxfid.images.sources import open_source
from jaxfid.report.pictures import Album, find_nearest, keep_extremes
from jaxfid.report.run_folder import RunFolder
from tests.images.files import make_images

IMAGES = make_images(40)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path)


def test_first_and_spread_pictures_are_the_images(run):
    album = Album(run, open_source(IMAGES), "some set/with: a name")
    first, spread = album.keep_first(), album.keep_spread()
    assert [picture.index for picture in first] == list(range(12))
    assert [picture.index for picture in spread][::11] == [0, 39]
    for picture in (*first, *spread):
        file = run.path / "images" / picture.file
        np.testing.assert_array_equal(np.asarray(Image.open(file)), IMAGES[picture.index])


def test_sets_of_like_names_do_not_share_files(run):
    names = ("a/b", "a-b", "../a-b")
    files = {Album(run, open_source(IMAGES), name).keep(0).file for name in names}
    assert len(files) == 3
    assert not [file for file in files if file.startswith(".")]


def test_small_sets_are_kept_whole(run):
    album = Album(run, open_source(IMAGES[:3]), "small")
    assert [picture.index for picture in album.keep_first()] == [0, 1, 2]
    assert [picture.index for picture in album.keep_spread()] == [0, 1, 2]


def test_extremes_have_their_realism_and_their_nearest_reference_image(run):
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(30, 5)).astype(np.float32)
    # Image i of the 20 lies beside reference image 29 - i; the fourth file could not be read.
    left_out = {"03"}
    positions = [i for i in range(20) if i != 3]
    features = reference[[29 - i for i in positions]] + 1e-3
    realism = np.array([10.0 + i for i in positions])
    generated = Album(run, open_source(IMAGES[:20]), "generated")
    known = Album(run, open_source(IMAGES[10:]), "reference")
    pictures = keep_extremes(realism, (generated, features, left_out), (known, reference, set()))
    assert [p.index for p in pictures["lowest"]] == [0, 1, 2, 4, 5, 6]
    assert [p.index for p in pictures["highest"]] == [19, 18, 17, 16, 15, 14]
    for picture in (*pictures["lowest"], *pictures["highest"]):
        assert picture.realism == 10.0 + picture.index
        nearest = np.asarray(Image.open(run.path / "images" / picture.nearest))
        np.testing.assert_array_equal(nearest, IMAGES[10:][29 - picture.index])


def test_nearest_is_found_across_blocks_of_rows(monkeypatch):
    monkeypatch.setattr("jaxfid.report.pictures._ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(1)
    wanted, among = rng.normal(size=(6, 4)), rng.normal(size=(25, 4))
    distances = np.linalg.norm(wanted[:, None] - among, axis=2)
    np.testing.assert_array_equal(find_nearest(wanted, among), distances.argmin(1))
