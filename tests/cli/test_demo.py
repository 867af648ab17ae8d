"""The demo's pictures, disturbances, table and figure; the whole of it is `slow`."""

import numpy as np
import pytest
from PIL import Image

from jaxfid.cli import demo
from jaxfid.errors import JaxfidError
from tests.commands import offline, run_jaxfid


def make_scores(**changed):
    scores = {(name, s): 10.0 * s for name in demo.DISTURBANCES for s in demo.STRENGTHS}
    return {demo.UNDISTURBED: 1.0, **scores, **changed}


@pytest.fixture(scope="module")
def pictures():
    return demo.draw_pictures(6, np.random.default_rng(0))


def test_pictures_are_drawn_from_the_seed_alone(pictures):
    np.testing.assert_array_equal(pictures, demo.draw_pictures(6, np.random.default_rng(0)))
    assert pictures.shape == (6, demo.SIDE_PX, demo.SIDE_PX, 3)
    assert pictures.dtype == np.uint8
    assert len({picture.tobytes() for picture in pictures}) == 6


@pytest.mark.parametrize("name", demo.DISTURBANCES)
def test_a_disturbance_grows_and_leaves_the_originals_alone(pictures, name):
    before = pictures.copy()
    disturbed = [
        demo.DISTURBANCES[name](pictures, strength, np.random.default_rng(1))
        for strength in demo.STRENGTHS
    ]
    changes = [np.abs(d.astype(float) - pictures).mean() for d in disturbed]
    assert 0 < changes[0] < changes[1] < changes[2]
    assert all(d.dtype == np.uint8 and d.shape == pictures.shape for d in disturbed)
    np.testing.assert_array_equal(pictures, before)


def test_a_score_that_does_not_grow_is_an_error():
    demo.require_growth(make_scores())
    with pytest.raises(JaxfidError, match="does not grow with the disturbance: Gaussian blur"):
        demo.require_growth({**make_scores(), ("Gaussian blur", 2): 35.0})


def test_the_table_has_a_line_per_disturbance():
    lines = demo.make_table(make_scores()).splitlines()
    assert lines[0].split() == ["strength", "0", "1", "2", "3"]
    assert lines[1].split() == ["Gaussian", "noise", "1.00", "10.00", "20.00", "30.00"]
    assert len(lines) == 1 + len(demo.DISTURBANCES)


def test_the_figure_is_a_picture(pictures, tmp_path):
    sets = dict.fromkeys(make_scores(), pictures)
    demo.draw_figure(make_scores(), sets, tmp_path / "figure.png", "FID")
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.format == "PNG"
        assert np.asarray(figure).std() > 0


@pytest.mark.slow
def test_the_demo_says_first_and_last_that_these_are_no_fids(tmp_path):
    done = run_jaxfid("demo", "--out", tmp_path / "figure.png", **offline(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "NO FIDs" in lines[0]
    assert "NO FIDs" in lines[-1]
    assert (tmp_path / "figure.png").exists()
