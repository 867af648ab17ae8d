"""Processes on this machine that talk to each other."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def processes(
    commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]] = ()
) -> Iterator[list[subprocess.Popen]]:
    """Starts `python ARGUMENTS` for each, and leaves none behind."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    added = environments or [{}] * len(commands)
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**environment, **more},
        )
        for command, more in zip(commands, added, strict=True)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()


def finish(started: Sequence[subprocess.Popen], timeout_s: float = 120) -> list[tuple]:
    """Waits for all; returns exit code, stdout and stderr of each."""
    ended = [process.communicate(timeout=timeout_s) for process in started]
    return [(p.returncode, *texts) for p, texts in zip(started, ended, strict=True)]
