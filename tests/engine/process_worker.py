"""One process of several on this machine: `process_worker.py SCENARIO INDEX COUNT PORT`.

What the process found goes to stdout as one line of JSON.
"""

import json
import sys
import time

import jax
import numpy as np

import jaxfid
from jaxfid.engine.processes import leave, process_group

SCENARIO, (INDEX, COUNT, PORT) = sys.argv[1], map(int, sys.argv[2:])


def meet() -> dict:
    """Everything that processes do together, several evaluations in a row."""
    found = {}
    with process_group().one_evaluation() as _:
        found.update(combine())
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


def wait() -> dict:
    """Until the test kills another process."""
    found = []
    with process_group().one_evaluation():
        process_group().exchange("all here")
        print("ready", flush=True)
        began = time.monotonic()
        if INDEX == 0:
            found = catch(lambda: process_group().exchange("a process that died"))
        else:
            found = catch(lambda: list(process_group().watch(iter(lambda: time.sleep(0.1), 1))))
    return {"error": found, "after_s": time.monotonic() - began}


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    timeout_s = 6.0 if SCENARIO == "wait" else 60.0
    jaxfid.initialize_distributed(f"127.0.0.1:{PORT}", COUNT, INDEX, timeout_s=timeout_s)
    print(json.dumps({"meet": meet, "wait": wait}[SCENARIO]()), flush=True)
    if SCENARIO == "wait":
        leave(0)
