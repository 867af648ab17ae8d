"""One process of several on this machine: `process_worker.py INDEX COUNT PORT`.

What the process found goes to stdout, each time as one line of JSON.
"""

import json
import sys
import time

import jax
import numpy as np

import jaxfid
from jaxfid.distributed.gather import gather_features, gather_skipped
from jaxfid.distributed.group import process_group
from tests.extraction.interrupted import Fragile, run

TIMEOUT_S = 6.0


def meet() -> dict:
    """Everything that processes do together, several evaluations in a row."""
    found = {}
    with process_group().one_evaluation():
        found.update(combine())
        found.update(see_images())
    with process_group().one_evaluation():
        process_group().require_agreement({"protocol": "clean", "limit": None})
        found["agree"] = True
    found["differ"] = catch(differ)
    found["fail"] = catch(fail)
    with process_group().one_evaluation():
        found["afterwards"] = process_group().exchange(f"text of {INDEX}")
    return found


def combine() -> dict:
    group, rng = process_group(), np.random.default_rng(INDEX)
    tree = {"a": rng.standard_normal((3, 5)), "b": np.float64(1 + 2.0**-40) * (INDEX + 1)}
    ragged = rng.standard_normal((2 * INDEX, 3)).astype(np.float32)
    wide = np.arange(3, dtype=np.int64) + 2**40 + INDEX
    return {
        "total": jax.tree.map(lambda a: np.asarray(a).tolist(), group.total(tree)),
        "ragged": [part.tolist() for part in group.gather(ragged)],
        "wide": [part.tolist() for part in group.gather(wide)],
        "num_devices": len(jax.local_devices()),
    }


def see_images() -> dict:
    """A share of a source that has one broken image, on two devices."""
    group, source = process_group(), Fragile(broken=11)
    moments, store, skipped = run(None, source, devices=2, share=(INDEX, COUNT))
    return {
        "own count": moments.count.tolist(),
        "moments": jax.tree.map(np.ndarray.tolist, vars(group.total(moments))),
        "features": gather_features(group, store.state())[0].tolist(),
        "skipped": [one.key for one in gather_skipped(group, skipped, source)],
    }


def differ() -> None:
    facts = {"protocol": ["clean", "legacy_pytorch"][INDEX % 2], "same": 1, "images": 10 + INDEX}
    process_group().require_agreement(facts)


def fail() -> None:
    if INDEX == COUNT - 1:
        raise jaxfid.InputError("cat.png: cannot be read")
    process_group().exchange("never answered")


def catch(function) -> list:
    try:
        with process_group().one_evaluation():
            function()
    except jaxfid.JaxfidError as error:
        return [type(error).__name__, str(error)]
    return []


def wait() -> None:
    process_group().exchange("of a process that died")


def go_on() -> None:
    while True:
        process_group().check()
        time.sleep(0.1)


def lose() -> None:
    """The test kills the last process, which the others outlive; then the first, which they do not."""
    print("ready", flush=True)
    began = time.monotonic()
    # One waits for an answer, the others are in the middle of their batches.
    error = catch(wait if INDEX == 0 else go_on)
    print(json.dumps({"error": error, "after_s": time.monotonic() - began}), flush=True)
    time.sleep(60)


if __name__ == "__main__":
    INDEX, COUNT, PORT = map(int, sys.argv[1:])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    jaxfid.initialize_distributed(f"127.0.0.1:{PORT}", COUNT, INDEX, timeout_s=TIMEOUT_S)
    print(json.dumps(meet()), flush=True)
    lose()
