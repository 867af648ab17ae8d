"""How cost grows: time and peak memory for 1k, 10k and 50k images, and on 1 to 64 simulated devices.

The network is replaced by one of a single small product that gives 2048 features as well, so that 50,000
images take minutes and what is left is all the rest: making images, batches, transfer, resize to 299
pixels, float64 sums, their reduction, the solve. The images are noise, each made when it is asked for. Every
measurement is a process of its own. Sums must be equal on every number of devices.

    .venv/bin/python scripts/bench/growth.py

About 15 minutes at the defaults on two cores.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence

import numpy as np
from lib.measure import Spread, make_parser
from lib.report import Report, Row

BATCH_SIZE = 256
AGREEMENT = 1e-12
"""Relative, of the trace of the covariance: float64 sums in another order."""
MIB = 2**20

Case = tuple[int, int]
"""Numbers of images and of devices."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run took, and the figure by which runs are compared.

    Attributes:
      pass_s: Images to sums, without the first batches, in which programs are compiled.
      solve_s: The distance of these sums from a fixed Gaussian, compilation included; None if not taken.
      peak_mib: Most memory that was resident in the process.
      trace: Of the covariance.
    """

    pass_s: float
    solve_s: float | None
    peak_mib: float
    trace: float


Costs = dict[Case, list[Cost]]


def measure(num_images: int, num_devices: int, *, solve: bool) -> Cost:
    """Returns what a pass over so many images costs on so many devices; for a fresh process."""
    # Imported here: a process is never seen to be smaller than the one that started it was.
    from lib.pipeline import Pipeline, start_jax
    from lib.stand_in import Noise, make_stand_in

    from jaxfid import open_source

    start_jax(num_devices)
    pipeline = Pipeline(make_stand_in(), batch_size=BATCH_SIZE, largest=num_images)
    pipeline.stats(open_source(Noise(2 * pipeline.batch_size)))
    start = time.perf_counter()
    stats = pipeline.stats(open_source(Noise(num_images)))
    pass_s = time.perf_counter() - start
    if stats.count != num_images:
        raise SystemExit(f"{num_images} images asked for, {stats.count} counted")
    solve_s = _time_solve(stats.mean, stats.cov) if solve else None
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
    return Cost(pass_s, solve_s, peak_bytes / MIB, float(np.trace(stats.cov)))


def _time_solve(mean: np.ndarray, cov: np.ndarray) -> float:
    from jaxfid import frechet_distance

    start = time.perf_counter()
    distance = frechet_distance(np.zeros(len(mean)), np.eye(len(mean)), mean, cov)
    if not np.isfinite(distance):
        raise SystemExit("the distance of the sums is not finite")
    return time.perf_counter() - start


def _measure_all(cases: Sequence[Case], rounds: int, *, solve: bool) -> Costs:
    """Runs every case once per round, each in a process of its own."""
    costs: Costs = {case: [] for case in cases}
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        for number in range(rounds):
            for case in list(cases)[:: -1 if number % 2 else 1]:
                costs[case].append(pool.submit(measure, *case, solve=solve).result())
                print(f"  round {number + 1} of {rounds}: {case}", file=sys.stderr, flush=True)
    return costs


def _row(case: Case, costs: Sequence[Cost]) -> Row:
    def spread(name: str) -> Spread | None:
        found = tuple(getattr(cost, name) for cost in costs)
        return None if None in found else Spread(found)

    return {
        "images": case[0],
        "devices": case[1],
        "pass, s": spread("pass_s"),
        "ms per image": Spread(tuple(1000 * cost.pass_s / case[0] for cost in costs)),
        "solve, s": spread("solve_s"),
        "peak memory, MiB": spread("peak_mib"),
    }


def _fit(costs: Costs) -> str:
    counts = [case[0] for case in costs]
    medians = [float(np.median([run.pass_s for run in runs])) for runs in costs.values()]
    slope, constant = np.polyfit(counts, medians, 1)
    return f"Straight line through the passes: {constant:.3g} s + {1000 * slope:.3g} ms per image."


def main() -> None:
    """Runs the bench."""
    parser = make_parser(__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--images", type=int, default=2000, help="on each number of devices")
    options = parser.parse_args()
    report = Report(options)
    by_images = _measure_all([(n, 2) for n in options.counts], options.rounds, solve=True)
    cases = [(options.images, devices) for devices in options.devices]
    by_devices = _measure_all(cases, options.rounds, solve=False)
    traces = [cost.trace for runs in by_devices.values() for cost in runs]
    apart = max(abs(trace / traces[0] - 1) for trace in traces)
    report.check("trace of the covariance on all numbers of devices, relative", apart, AGREEMENT)
    report.table("By number of images", [_row(*item) for item in by_images.items()])
    if len(by_images) > 1:
        report.note(_fit(by_images))
    report.table("By number of devices", [_row(*item) for item in by_devices.items()])
    report.note("Not in these times: the network. Devices beyond the cores share them.")
    report.save()


if __name__ == "__main__":
    main()
