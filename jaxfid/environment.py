"""What a number was computed with."""

import platform
from importlib import metadata
from typing import Any

import jax

from jaxfid.distributed.group import process_group


def versions() -> dict[str, str]:
    """Returns the versions of everything that could move a number."""
    packages = ("jaxfid", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow")
    return {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}}


def describe_environment() -> dict[str, Any]:
    """Returns versions, the devices that this process computes on, and how many processes there are."""
    devices = jax.local_devices()
    return {
        "versions": versions(),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "num_processes": process_group().count,
    }
