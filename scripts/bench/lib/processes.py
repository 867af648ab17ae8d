"""Whole processes as the sides of a bench: run to their end, run together, or asked over pipes.

Imports nothing outside the standard library: a process is never seen to be smaller than what started it.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class Finished:
    """A process that has ended well.

    Attributes:
      seconds: From its start to its end.
      cpu_s: Seconds of cores that it used, in its own code and in the system's.
      peak_bytes: Most memory that was resident in it at a time, its own children not counted.
      stdout: What it printed.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int
    stdout: str


def run_process(command: Sequence[str | Path]) -> Finished:
    """Runs a program to its end; one that fails ends the bench with its last words."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=err)
        # Not `process.wait`: only this call tells the memory of this one child.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\nfailed:\n{err.read()[-3000:]}")
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        cpu_s = usage.ru_utime + usage.ru_stime
        return Finished(seconds, cpu_s, usage.ru_maxrss * unit_bytes, out.read())


def jaxfid_command(*arguments: str | Path) -> list[str | Path]:
    """Returns the command line that runs this environment's jaxfid."""
    return [sys.executable, "-m", "jaxfid", *arguments]


def run_together(commands: list[list[str | Path]]) -> None:
    """Runs processes at once; one that fails ends the bench with its last words."""
    running = [
        subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    words = [process.communicate()[1] for process in running]
    for command, process, said in zip(commands, running, words, strict=True):
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\nfailed:\n{said[-3000:]}")


class Served:
    """A running program that answers each line of JSON with a line of JSON; a context manager."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Returns the answer; an error there ends the bench."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout  # both were opened as pipes above
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            self._said.seek(0)
            raise SystemExit(f"{self._process.args}\nended:\n{self._said.read()[-3000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise SystemExit(f"{request}: {answer['error']}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._said.close()
