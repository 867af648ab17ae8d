"""Runs one `jaxfid score` in this process, and prints its FID and its seconds by what they go to, as JSON."""

import contextlib
import functools
import io
import itertools
import json
import sys
import time
from types import ModuleType

MARKS = [("", time.process_time(), time.perf_counter())]


def mark(name: str) -> None:
    """Ends the phase of that name."""
    MARKS.append((name, time.process_time(), time.perf_counter()))


def surround(owner: ModuleType | type, name: str, *, before: str, within: str) -> None:
    """Ends one phase where a function begins, and another where it ends."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def timed(*args, **options):  # noqa: ANN002, ANN003, ANN202
        mark(before)
        try:
            return function(*args, **options)
        finally:
            mark(within)

    setattr(owner, name, timed)


def main() -> None:
    """Runs the command that was given."""
    # What the command imports, imported here so that it is a phase of its own.
    from jaxfid import cli
    from jaxfid.extraction import extract, feature_pass
    from jaxfid.extractors import registry
    from jaxfid.metrics.frechet import metric

    mark("imports")
    surround(registry, "load_weights", before="arguments, sets", within="weights")
    # Between the weights and the first batch the images are listed and the first of them decoded.
    surround(
        feature_pass.FeaturePass, "__call__", before="first batch", within="tracing, cached program"
    )
    surround(extract, "run_pass", before="first batch", within="network")
    surround(metric, "solve_frechet", before="factor of the reference", within="solve")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        cli.main(sys.argv[1:])
    mark("result")
    (scored,) = json.loads(said.getvalue())["results"]
    phases: dict[str, list[float]] = {}
    for (_, cpu, clock), (name, cpu_then, clock_then) in itertools.pairwise(MARKS):
        spent = phases.setdefault(name, [0.0, 0.0])
        spent[0] += cpu_then - cpu
        spent[1] += clock_then - clock
    print(json.dumps({"value": scored["metrics"]["fid"]["value"], "phases": phases}))


if __name__ == "__main__":
    main()
