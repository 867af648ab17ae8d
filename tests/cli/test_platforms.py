"""The command line on systems that are not this one: no call of Linux alone, no device that JAX lacks."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.extraction import devices
from tests.commands import run_jaxfid

ROOT = Path(__file__).parents[2]
# What neither macOS nor Windows has, and what Windows has not.
NOT_LINUX = """
import os, sys
for name in ("sched_getaffinity", "sched_setaffinity", "process_cpu_count", "posix_fadvise"):
    if hasattr(os, name): delattr(os, name)
for name in ("fork", "forkpty", "pread", "preadv", "mkfifo", "fchmod", "getuid", "O_NOFOLLOW"):
    if hasattr(os, name): delattr(os, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
"""
OPTIONS = ("--weights", "untrained", "--dims", "64")


@pytest.fixture
def sets(tmp_path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    for name in ("real", "drawn"):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    return tmp_path / "real", tmp_path / "drawn"


def test_score_needs_nothing_of_linux(sets, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(NOT_LINUX)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    kept = ("--resume", tmp_path / "kept", "--json", tmp_path / "scores.json")
    done = run_jaxfid("score", *sets, *OPTIONS, *kept, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "fid " in done.stdout
    assert (tmp_path / "scores.json").stat().st_size


def test_a_platform_that_is_not_here_is_named(sets):
    done = run_jaxfid("score", *sets, *OPTIONS, JAX_PLATFORMS="cuda")
    assert done.returncode == 2
    assert (
        "error: JAX finds no device: JAX_PLATFORMS is cuda, and none of them is here" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_no_cpu_beside_the_gpu_is_said_before_the_first_image(monkeypatch):
    real = devices.jax.local_devices

    def local_devices(backend=None):
        if backend == "cpu":
            raise RuntimeError("Unknown backend cpu")
        return real()

    monkeypatch.setattr(devices.jax, "local_devices", local_devices)
    with pytest.raises(InputError, match=r"leaves out the CPU.*as in JAX_PLATFORMS=cuda,cpu"):
        devices.require_cpu()
