"""Figures show what they are given, and return their axes."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")

from matplotlib import pyplot

import jaxfid
from jaxfid.errors import InputError
from tests.report.entries import make_entry, make_failure


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def test_a_curve_is_in_the_order_of_the_steps():
    entries = [make_entry(20, 2.0), make_failure(15), make_entry(10, 3.0), make_entry(None, 9.0)]
    axes = jaxfid.plot_curve(entries)
    line = axes.lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([10, 20], [3.0, 2.0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "FID")
    assert jaxfid.plot_curve(entries, ax=axes) is axes
    with pytest.raises(InputError, match="found 'kid'"):
        jaxfid.plot_curve(entries, "kid")


def test_a_pair_shows_images_of_both():
    black, white = np.zeros((9, 4, 4, 3), np.uint8), np.full((9, 4, 4, 3), 255, np.uint8)
    axes = jaxfid.plot_pair(black, white, count=3)
    assert axes.shape == (2, 3)
    shown = [[ax.images[0].get_array().max() for ax in row] for row in axes]
    assert shown == [[0, 0, 0], [255, 255, 255]]
    with pytest.raises(InputError, match="expected 10 images, found 9"):
        jaxfid.plot_pair(black, white, count=10)
    with pytest.raises(InputError, match="count: expected 1 to 64, found 0"):
        jaxfid.plot_pair(black, white, count=0)


def test_features_are_seen_along_the_reference_s_widest_directions():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 5)) * [1, 9, 0.1, 3, 0.1] + 7
    axes = jaxfid.plot_features(real, real[:50] + np.array([0, 40, 0, 0, 0]))
    both = [np.ptp(np.asarray(p.get_offsets()), axis=0) for p in axes.collections]
    assert both[0] == pytest.approx([np.ptp(real[:, 1]), np.ptp(real[:, 3])], rel=0.1)
    moved = axes.collections[1].get_offsets().mean(0) - axes.collections[0].get_offsets().mean(0)
    assert abs(moved[0]) == pytest.approx(40, rel=0.1)
    with pytest.raises(InputError, match="expected two arrays of one width"):
        jaxfid.plot_features(real, real[:, :3])
