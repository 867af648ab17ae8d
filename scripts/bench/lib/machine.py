"""What a report says of the machine: versions, its processor, and whether it is busy with other work."""

import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


def read_versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns the versions of those of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def measure_busy_share() -> float:
    """Returns which part of all cores works during a second in which this process sleeps."""
    before = _cpu_ticks()
    time.sleep(1)
    spent = [now - then for now, then in zip(_cpu_ticks(), before, strict=True)]
    idle = sum(spent[3:5])  # idle, and waiting for disks
    return 1 - idle / sum(spent) if sum(spent) else 0.0


def _cpu_ticks() -> list[int]:
    """Returns the kernel's count of what the cores were doing; zeros where there is no such file."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return [0] * 8
    return [int(ticks) for ticks in first.split()[1:9]]


def read_cpu_name() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
