"""Every reader survives damaged files; `python scripts/fuzz` runs many more of them."""

import collections
import json
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "scripts" / "fuzz"


@pytest.fixture
def fuzz(monkeypatch):
    """The scripts as modules, and what they leave in the list of modules taken back."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    import formats
    import mutations
    import worker

    yield formats, mutations, worker
    for name in ("formats", "mutations", "worker"):
        if name not in before:
            del sys.modules[name]


def test_the_good_file_of_every_format_is_read(fuzz, tmp_path):
    formats, _, _ = fuzz
    for name, kind in formats.FORMATS.items():
        path = tmp_path / f"good{kind.suffix}"
        path.write_bytes(kind.wrap(kind.good))
        try:
            kind.read(path)
        except Exception as error:
            pytest.fail(f"{name}: {error}")


def test_damage_comes_from_the_seed_alone(fuzz):
    formats, _, worker = fuzz
    kind = formats.FORMATS["stats npz"]
    files = [worker.damaged(kind, "stats npz", 0, number) for number in range(20)]
    assert files == [worker.damaged(kind, "stats npz", 0, number) for number in range(20)]
    assert len(set(files)) == 20 and kind.good not in files


def test_damaged_files_of_every_format_are_read_or_refused(tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER, "--files", "15", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert ", 0 findings, " in done.stdout


BAD = """
import dataclasses, os, sys, time
sys.argv = ["worker", "0", {start!r}, "8", "bad"]
import formats, worker
def read(path):
    number = int(path.read_bytes())
    {{1: lambda: os.abort(), 2: lambda: time.sleep(9), 4: lambda: [][0]}}.get(number, int)()
worker.LIMIT_S = 1
formats.FORMATS["bad"] = formats.Format(b"", read)
worker.damaged = lambda kind, name, seed, number: str(number).encode()
worker.main()
"""


@pytest.mark.slow
def test_what_a_reader_does_wrong_is_found(monkeypatch):
    """A fuzzer that finds nothing could also be one that cannot find."""
    outcomes = collections.Counter()
    for start in ("0", "2", "3"):
        code = BAD.format(start=start)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=FOLDER
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        number, _, found = lines[-1]
        if done.returncode:
            assert found == "started"
            outcomes[number, done.returncode] += 1
        outcomes.update((n, "IndexError" in f) for n, _, f in lines if "Traceback" in str(f))
    assert outcomes == {(1, -6): 1, (2, -14): 1, (4, True): 1}
