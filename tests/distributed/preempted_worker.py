"""One process of several whose runtime looks out for preemption: `preempted_worker.py INDEX COUNT PORT`."""

import sys
import time

import jax

import jaxfid
from jaxfid.distributed.group import leave, process_group
from jaxfid.distributed.termination import Terminated

INDEX, COUNT, PORT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
BATCHES_BEFORE = 5 * INDEX  # what this process did in an earlier run: its count is ahead

if __name__ == "__main__":
    jax.config.update("jax_enable_preemption_service", True)
    jax.distributed.initialize(f"127.0.0.1:{PORT}", COUNT, INDEX)
    jaxfid.initialize_distributed()
    group, end = process_group(), time.monotonic() + 60
    try:
        with group.one_evaluation():
            group.exchange("here")
            print("ready", flush=True)
            for _ in range(BATCHES_BEFORE):
                group.check()
            while time.monotonic() < end:
                group.check()
                time.sleep(0.05)
    except Terminated as error:
        print(error, flush=True)
        leave(error.exit_code)
