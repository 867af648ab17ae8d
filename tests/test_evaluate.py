"""The facade, where a call needs no network."""

import re

import numpy as np
import pytest

from jaxfid import compute_metrics, compute_stats, load_stats, open_source, save_stats
from jaxfid.errors import InputError
from jaxfid.stats.files import Stats
from tests.commands import run_jaxfid

STATS = Stats(np.zeros(4), np.eye(4), None, None)


def test_settings_of_a_network_are_refused_where_no_image_is_seen():
    message = "holds no images, so that no network sees any; leave out protocol, dims"
    with pytest.raises(InputError, match=message):
        compute_stats(STATS, dims=64, protocol="clean")


def test_files_of_another_network_are_no_fid():
    theirs = Stats(np.zeros(3), np.eye(3), 20, {"extractor": "tiny", "protocol": "tiny_8"})
    with pytest.raises(InputError, match="features are of tiny, and those of inception were asked"):
        compute_metrics(theirs, [theirs])


def test_the_width_that_is_printed_is_that_of_the_files():
    ours = Stats(np.zeros(4), np.eye(4), 3, {"protocol": "clean", "dims": 4})
    (scored,) = compute_metrics(ours, [ours]).results
    assert scored.metrics["fid"].space == "clean, 4"
    assert any("for 4 features" in warning for warning in scored.warnings)


def test_an_address_with_a_digest_is_not_read_without_it():
    address = f"http://127.0.0.1:9/r.npz#sha256={'0' * 64}"
    for read in (load_stats, open_source):
        with pytest.raises(InputError, match="an address with a digest is taken"):
            read(address)


def test_copied_statistics_of_another_tool_are_of_an_unknown_number_of_images(tmp_path):
    original, copy = tmp_path / "theirs.npz", tmp_path / "copy.npz"
    save_stats(original, STATS)
    done = run_jaxfid("stats", original, "-o", copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r".*copy\.npz: statistics of an unknown number of images\n", done.stdout)
