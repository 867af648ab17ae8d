"""How many threads can run at once."""

import os


def count_usable_cores() -> int:
    """Returns how many cores this process may use; all of the machine where the system cannot say."""
    if count := getattr(os, "process_cpu_count", None):  # Python 3.13
        return count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
