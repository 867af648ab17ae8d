"""Fuzzes every reader: `python scripts/fuzz --files 200`. Ends with 1 where one of them misbehaved.

A damaged file may be read (the damage was harmless), or refused by an error that names it. Anything
else is a finding: a traceback, a file that is read for longer than ten seconds, a signal, more
memory than 2 GB. `--seed` and the number that is printed make the same file again.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

HERE = pathlib.Path(__file__).parent


def run(names: Sequence[str], *, files: int, seed: int) -> Iterator[tuple[int, str, object]]:
    """Yields number, format and outcome of each file; a process that a file kills is replaced."""
    total, start = files * len(names), 0
    while start < total:
        command = [sys.executable, HERE / "worker.py", str(seed), str(start), str(total), *names]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            number, name, found = start, names[start % len(names)], "started"
            for line in worker.stdout or ():
                number, name, found = json.loads(line)
                if found != "started":
                    yield number, name, found
        if worker.returncode == 0:
            return
        if found != "started":
            raise RuntimeError(f"the worker failed outside a reader, after file {number}")
        yield number, name, f"killed by signal {-worker.returncode}"
        start = number + 1


def main() -> None:
    """Prints a table of what became of the files, and every finding."""
    sys.path.insert(0, str(HERE))
    from formats import FORMATS

    parser = argparse.ArgumentParser(description="Fuzzes every reader with damaged files.")
    parser.add_argument("--files", type=int, default=200, help="damaged files of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", action="append", choices=FORMATS, help="only this one")
    options = parser.parse_args()
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    findings, memory_kb = [], 0
    for number, name, found in run(
        options.format or list(FORMATS), files=options.files, seed=options.seed
    ):
        if number < 0:
            memory_kb = max(memory_kb, int(str(found)))
            continue
        kind = found if found in ("read", "refused") else "findings"
        counts[name][str(kind)] += 1
        if kind == "findings":
            findings.append(f"{name}, file {number} of seed {options.seed}:\n{found}")
    for name, count in counts.items():
        print(
            f"{name:28} {count['read']:6} read {count['refused']:6} refused {count['findings']:4} findings"
        )
    total = sum(sum(count.values()) for count in counts.values())
    print(f"{total} files, {len(findings)} findings, at most {memory_kb / 1024:.0f} MB of memory")
    print(*findings[:20], sep="\n")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
