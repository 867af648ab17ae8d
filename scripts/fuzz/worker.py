"""Reads damaged files one after another, in a process that may die of one."""

import json
import pathlib
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings

from formats import FORMATS, Format
from mutations import mutate

from jaxfid.errors import JaxfidError

LIMIT_S = 10
MAX_MEMORY_BYTES = 2 << 30


def damaged(kind: Format, name: str, seed: int, number: int) -> bytes:
    """Returns the damaged file of a number, the same for the same seed on every machine."""
    rng = random.Random(f"{seed} {name} {number}")  # text seeds are hashed by sha512
    return kind.wrap(mutate(kind.good, rng))


def outcome_of(kind: Format, path: pathlib.Path) -> str:
    """Returns "read", "refused", or the last lines of a traceback."""
    try:
        kind.read(path)
    except JaxfidError as error:
        # The name of the file is what its reader's user needs.
        return "refused" if path.name in str(error) else f"no file named: {error}"
    except BaseException:
        return traceback.format_exc(limit=-3)
    return "read"


def main() -> None:
    """Reads files `start` to `stop` of every format named, one line of JSON each on stdout."""
    seed, start, stop, *names = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(int(start), int(stop)):
            name = names[number % len(names)]
            kind = FORMATS[name]
            path = pathlib.Path(folder) / f"fuzzed{kind.suffix}"
            path.write_bytes(damaged(kind, name, int(seed), number))
            print(json.dumps([number, name, "started"]), flush=True)
            signal.alarm(LIMIT_S)  # without a handler: it ends a loop in C as well
            found = outcome_of(kind, path)
            signal.alarm(0)
            print(json.dumps([number, name, found]), flush=True)
    print(json.dumps([-1, "memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))


if __name__ == "__main__":
    main()
