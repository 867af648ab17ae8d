"""A side of a bench that runs in another Python, and answers one request after another over pipes."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self


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
        assert stdin and stdout
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
        self._process.stdin.close()
        self._process.wait()
        self._said.close()
