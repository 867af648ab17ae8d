"""A result is saved before it is printed, and no line that cannot be printed costs it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics
from jaxfid.result import Result
from jaxfid.storage.locks import lock
from tests.tiny import TINY

ARGUMENTS = ("--extractor", "tests.tiny:make_tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("\u56fe")
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    np.save(root / "real.npy", images)
    np.save(root / "\u56fe.npy", images[::-1] // 2)
    return root


def score(folder, json, *, stdout=subprocess.PIPE, **environment):
    command = [sys.executable, "-m", "jaxfid", "score", str(folder / "real.npy")]
    command += [str(folder / "\u56fe.npy"), *ARGUMENTS, "--json", str(json)]
    env = {**os.environ, **environment}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, env=env)


def test_a_name_that_stdout_cannot_hold_is_printed_with_replacements(folder, tmp_path):
    done = score(folder, tmp_path / "out.json", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr
    assert b"?.npy: fd_tiny " in done.stdout
    assert Result.from_json((tmp_path / "out.json").read_text()).results[0].metrics["fd_tiny"].value


def test_a_reader_that_has_gone_is_no_traceback(folder, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = score(folder, tmp_path / "out.json", stdout=writer)
    os.close(writer)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Broken pipe" not in done.stderr
    assert (tmp_path / "out.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
def test_a_full_disk_behind_stdout_leaves_the_file(folder, tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = score(folder, tmp_path / "out.json", stdout=full)
    assert b"Traceback" not in done.stderr
    assert b"stdout cannot be written" in done.stderr
    assert (tmp_path / "out.json").exists()


def test_two_runs_do_not_share_a_folder_of_progress(folder, tmp_path):
    images = np.load(folder / "real.npy")
    with (
        lock(tmp_path, "another evaluation"),
        pytest.raises(InputError, match="in use by another evaluation"),
    ):
        compute_metrics(images, [images], extractor=TINY, resume=tmp_path)
    compute_metrics(images, [images], extractor=TINY, resume=tmp_path)
