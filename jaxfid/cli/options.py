"""Options that several commands share, and what they stand for. Imports no JAX until it is to be started."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from jaxfid.cli.processes import add_process_options, is_first
from jaxfid.errors import InputError
from jaxfid.extractors.precision import PRECISIONS
from jaxfid.preprocessing.protocol import DEFAULT_PROTOCOL, PROTOCOLS
from jaxfid.settings import DIMS, METRICS, Settings

SETTINGS = {field.name for field in dataclasses.fields(Settings)} - {"progress"}
"""Fields of `Settings` that are options of the command line, where a command has them."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds what every command that sees images may be told."""
    default = Settings()
    add = parser.add_argument
    add("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL.name, help="resize and scaling")
    add("--dims", type=int, choices=DIMS, default=default.dims, help="features; 2048 is pool3")
    add(
        "--weights",
        default=default.weights,
        metavar="auto|untrained|PATH",
        help="the network's weights",
    )
    add("--precision", choices=PRECISIONS, default=default.precision)
    add("--batch-size", type=int, metavar="N", help="images per step over all devices")
    add(
        "--num-workers", type=int, default=default.num_workers, metavar="N", help="decoding threads"
    )
    add("--devices", type=_count_or_all, metavar="N|all", help="devices to use (default all)")
    add(
        "--sums",
        choices=("auto", "device", "host"),
        default=default.sums,
        help="where sums of features are kept (auto: the host where devices have no float64)",
    )
    add("--limit", type=int, metavar="N", help="score a random subset of N images")
    add("--seed", type=int, default=default.seed, metavar="S", help="of that subset")
    add("--on-error", choices=("fail", "skip"), default=default.on_error, help="unreadable files")
    add(
        "--compile-cache",
        metavar="DIR|none",
        help="where compiled programs are kept (default: as JAX is set, else the user's cache)",
    )
    add("--resume", metavar="DIR", help="keep progress there; go on from what a killed run kept")
    add(
        "--resume-every",
        dest="resume_every_s",
        type=float,
        default=default.resume_every_s,
        metavar="SECONDS",
        help="from one snapshot of the progress to the next",
    )
    add_process_options(parser)


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Adds which metrics are computed, and how."""
    parser.add_argument(
        "--metrics", metavar="NAMES", help=f"{','.join(METRICS)}; all; adm (default fid)"
    )
    parser.add_argument("--splits", choices=("torch_fidelity", "adm"), default="torch_fidelity")
    parser.add_argument(
        "--kid-subset-size", type=int, default=Settings.kid_subset_size, metavar="N"
    )
    parser.add_argument(
        "--blocks",
        type=int,
        default=Settings.blocks,
        metavar="N",
        help="blocks of images left out in turn for error bars; 1 for none",
    )


def add_extractor(parser: argparse.ArgumentParser) -> None:
    """Adds the choice of another network than the FID's."""
    parser.add_argument(
        "--extractor",
        metavar="torchvision|keras|MODULE:FUNCTION",
        help="another network, or a function that returns a jaxfid.FeatureNetwork; gives fd_NAME, no FID",
    )


def _count_or_all(text: str) -> int | None:
    return None if text == "all" else int(text)


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Returns those options of a command that are fields of `Settings`."""
    chosen = {name: getattr(options, name) for name in SETTINGS if hasattr(options, name)}
    return {**chosen, "progress": sys.stderr.isatty() and is_first(options)}


def start_jax(compile_cache: str | None = None) -> None:
    """Sets what must be set before JAX starts: a CPU device per core, and the compile cache.

    The cache is what was asked for, or JAX's own setting, or a folder in the user's cache.
    """
    import jax
    import platformdirs

    # One device per core: a CPU runs single images on each core faster than one image on all.
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    if compile_cache == "none":
        jax.config.update("jax_compilation_cache_dir", None)
    elif compile_cache or not jax.config.jax_compilation_cache_dir:
        default = Path(platformdirs.user_cache_dir("jaxfid")) / "compiled"
        jax.config.update("jax_compilation_cache_dir", compile_cache or str(default))
    # JAX leaves out what compiles within a second, which is most programs of a run but the network.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def check_writable(path: Path) -> None:
    """Finds out before the work, not after it, that the result has nowhere to go."""
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise InputError(f"{path}: expected a file in a folder that exists and can be written")


def say(line: str) -> None:
    """Writes a line for people, as stdout is for data."""
    print(line, file=sys.stderr, flush=True)
