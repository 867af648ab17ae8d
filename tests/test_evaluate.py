"""The facade, where a call needs no network."""

import re

import numpy as np
import pytest

from jaxfid import compute_stats, save_stats
from jaxfid.errors import InputError
from jaxfid.stats.files import Stats
from tests.commands import run_jaxfid

STATS = Stats(np.zeros(4), np.eye(4), None, None)


def test_settings_of_a_network_are_refused_where_no_image_is_seen():
    message = "holds no images, so that no network sees any; leave out protocol, dims"
    with pytest.raises(InputError, match=message):
        compute_stats(STATS, dims=64, protocol="clean")


def test_copied_statistics_of_another_tool_are_of_an_unknown_number_of_images(tmp_path):
    original, copy = tmp_path / "theirs.npz", tmp_path / "copy.npz"
    save_stats(original, STATS)
    done = run_jaxfid("stats", original, "-o", copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r".*copy\.npz: statistics of an unknown number of images\n", done.stdout)
