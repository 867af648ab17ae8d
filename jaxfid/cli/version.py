"""`jaxfid --version`: all that a report of a fault needs. It starts JAX, to name its devices."""

import argparse
import platform
from importlib import metadata
from typing import Any

from jaxfid.cli.output import print_line


class VersionAction(argparse.Action):
    """Prints versions, devices and weights, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:  # noqa: ANN401
        """Does so."""
        # The first line at once: scripts may read it and close the pipe.
        print_line(f"jaxfid {metadata.version('jaxfid')}")
        print_line(f"Python   {platform.python_version()} on {platform.platform()}")
        print_line(f"JAX      {metadata.version('jax')}, jaxlib {metadata.version('jaxlib')}")
        print_line(f"devices  {_describe_devices()}")
        print_line(f"weights  {_describe_weights()}")
        parser.exit()


def _describe_devices() -> str:
    from jaxfid.cli.options import start_jax

    start_jax()
    import jax

    try:
        devices = jax.local_devices()
    except RuntimeError as error:  # a platform was asked for that is not here
        return f"none: {error}"
    kinds = sorted({device.device_kind for device in devices})
    return f"{len(devices)} of {devices[0].platform} ({', '.join(kinds)})"


def _describe_weights() -> str:
    from jaxfid.extractors.stored import weights_status

    status = weights_status()
    if status.environment:
        return f"{status.environment} (JAXFID_WEIGHTS)"
    official = [stored for stored in status.stored if stored.sha256 == status.release.sha256]
    if official:
        return f"{official[0].name}, sha256 {official[0].sha256[:12]}..., {official[0].path}"
    return f"{status.release.name} is not here; jaxfid weights download"
