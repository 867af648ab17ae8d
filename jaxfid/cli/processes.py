"""How a command runs: alone or as one of several processes, until its end or a SIGTERM. Imports no JAX."""

import argparse
import os
import sys
from collections.abc import Callable

from jaxfid.distributed.termination import Terminated, sigterm_raises
from jaxfid.errors import JaxfidError

WHERE = ("coordinator", "num_processes", "process_id")


def add_process_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that make a command one of several processes."""
    group = parser.add_argument_group(
        "several processes",
        "Start the same command once per host. Slurm, Open MPI, Cloud TPU and Kubernetes are recognised; "
        "elsewhere say where the processes meet. Process 0 listens there without a password: use a network "
        "that you trust.",
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
        help="silence after which a process counts as dead (default %(default)g)",
    )
    add(
        "--start-timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long all may take to arrive (default %(default)g)",
    )


def run_joined(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Runs a command, together with the other processes if there are any.

    Raises:
      InputError: It is not known, or not right, where they meet.
      JaxfidError: The command failed, here or on another process.
      Terminated: A SIGTERM came, here or to another process.
    """
    if check := getattr(options, "check", None):
        check(options)  # before the others are waited for
    with sigterm_raises():
        if not is_distributed(options):
            command(options)
            return
        from jaxfid.distributed.group import process_group

        _join(options)
        # Again, as JAX before 0.8.2 has taken the signal for itself.
        with sigterm_raises(), process_group().one_evaluation():
            command(options)


def is_distributed(options: argparse.Namespace) -> bool:
    """Returns whether any option makes the command one of several processes."""
    given = [getattr(options, name, None) is not None for name in WHERE]
    return getattr(options, "distributed", False) or any(given)


def is_first(options: argparse.Namespace) -> bool:
    """Whether this process is the one that writes results."""
    if not is_distributed(options):
        return True
    from jaxfid.distributed.group import process_group

    return process_group().index == 0


def report_end(options: argparse.Namespace, error: JaxfidError | Terminated) -> int:
    """Says why this process ends, and returns its exit code.

    One of several processes does not come back: it ends here, as the others do.
    """
    name = _process_name(options)
    # A comparison keeps what it has in its own folder.
    kept = getattr(options, "resume", None) or getattr(options, "out", None)
    if isinstance(error, JaxfidError):
        text = f"error: {error}"
    elif kept is None:
        text = str(error)
    else:
        text = f"{error}; the same command goes on from what is kept in {kept}"
    print(f"jaxfid: {name}{text}", file=sys.stderr, flush=True)
    if name:
        from jaxfid.distributed.group import leave

        leave(error.exit_code)
    return error.exit_code


def _process_name(options: argparse.Namespace) -> str:
    """Returns which process speaks, where there are several."""
    if not is_distributed(options):
        return ""
    from jaxfid.distributed.group import process_group

    group = process_group()
    return "" if group.count == 1 else f"process {group.index} of {group.count}: "


def _join(options: argparse.Namespace) -> None:
    from jaxfid.distributed.group import initialize_distributed

    where = [getattr(options, name) for name in WHERE]
    given = [f"{n} {w}" for n, w in zip(WHERE, where, strict=True) if w is not None]
    print(
        f"jaxfid: meeting the other processes ({', '.join(given) or 'as the cluster says'})",
        file=sys.stderr,
        flush=True,
    )
    initialize_distributed(
        *where, timeout_s=options.process_timeout, start_timeout_s=options.start_timeout
    )
    # The library that carries sums between CPUs writes to file 1, which is for data.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
