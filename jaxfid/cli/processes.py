"""The options by which one command is run as several processes, and what they change. Imports no JAX."""

import argparse
import os
import sys
from collections.abc import Callable

from jaxfid.errors import JaxfidError

WHERE = ("coordinator", "num_processes", "process_id")


def add_process_options(parser: argparse.ArgumentParser) -> None:
    """Adds them to a command."""
    group = parser.add_argument_group(
        "several processes",
        "Start the same command once per host. Slurm, Open MPI, Cloud TPU and Kubernetes are recognised; "
        "elsewhere say where the processes meet.",
    )
    add = group.add_argument
    add("--distributed", action="store_true", help="be one of several processes")
    add("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    add("--num-processes", type=int, metavar="P", help="how many there are")
    add("--process-id", type=int, metavar="I", help="which of them this is, 0 to P-1")
    add(
        "--process-timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="silence after which a process counts as dead (default 60)",
    )


def run_joined(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Runs a command, together with the other processes if there are to be any.

    Raises:
      InputError: It is not known, or not right, where they meet.
      JaxfidError: The command failed, here or on another process.
    """
    if not is_distributed(options):
        command(options)
        return
    from jaxfid.distributed.group import process_group

    _join(options)
    with process_group().one_evaluation():
        command(options)


def _join(options: argparse.Namespace) -> None:
    from jaxfid.distributed.group import initialize_distributed

    where = [getattr(options, name) for name in WHERE]
    given = [f"{n} {w}" for n, w in zip(WHERE, where, strict=True) if w is not None]
    print(
        f"jaxfid: meeting the other processes ({', '.join(given) or 'as the cluster says'})",
        file=sys.stderr,
        flush=True,
    )
    initialize_distributed(*where, timeout_s=options.process_timeout)
    # The library that carries sums between CPUs writes to file 1, which is for data.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def is_first(options: argparse.Namespace) -> bool:
    """Whether this process is the one that writes results."""
    if not is_distributed(options):
        return True
    from jaxfid.distributed.group import process_group

    return process_group().index == 0


def leave_if_joined(options: argparse.Namespace, error: JaxfidError) -> None:
    """Reports the error and ends this process, where it is one of several that now all end."""
    if not is_distributed(options):
        return
    from jaxfid.distributed.group import leave, process_group

    group = process_group()
    if group.count > 1:
        print(f"jaxfid: process {group.index} of {group.count}: error: {error}", file=sys.stderr)
        leave(error.exit_code)


def is_distributed(options: argparse.Namespace) -> bool:
    given = [getattr(options, name, None) is not None for name in WHERE]
    return getattr(options, "distributed", False) or any(given)
