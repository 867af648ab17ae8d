"""Runs the command line as a user does: a process of its own."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path


def run_jaxfid(*arguments, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jaxfid", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def offline(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty cache and no way out."""
    dead = "http://127.0.0.1:9"
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "https_proxy": dead, "JAXFID_WEIGHTS": ""}


def latest_snapshot(folder: Path) -> int:
    """When the newest file of progress in a folder of `--resume` was written; 0 where there is none."""
    times = [0]
    for path in folder.glob("*.npz"):
        with contextlib.suppress(FileNotFoundError):  # a finished set's is deleted
            times.append(path.stat().st_mtime_ns)
    return max(times)
