"""Options that several commands share, and what they stand for."""

import argparse
import os
from pathlib import Path
from typing import Any

from jaxfid.cli.output import say
from jaxfid.cli.processes import add_process_options, is_first
from jaxfid.errors import InputError
from jaxfid.extractors.precision import PRECISIONS
from jaxfid.images.cores import count_usable_cores
from jaxfid.preprocessing.protocol import DEFAULT_PROTOCOL, PROTOCOLS
from jaxfid.storage.files import check_writable
from jaxfid.storage.paths import as_path, is_remote

DEFAULT_RESUME_EVERY_S = 30.0


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every command that reads images."""
    _add_network(parser)
    _add_images(parser)
    _add_progress(parser)
    add_process_options(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    """Adds which features are made, and on what."""
    add = parser.add_argument
    add(
        "--protocol",
        choices=PROTOCOLS,
        help=f"resize and scaling (default {DEFAULT_PROTOCOL.name}, or the extractor's own)",
    )
    add(
        "--dims", type=int, metavar="N", help="Inception's features: 64, 192, 768 or 2048 (default)"
    )
    add(
        "--weights",
        metavar="auto|untrained|PATH",
        help="the network's weights (default auto); NAME=PATH[,...] with several extractors",
    )
    add("--precision", choices=PRECISIONS, help="how products are taken (default float32)")
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="images per step over all devices (default: as many as suit the devices)",
    )
    add(
        "--num-workers", type=int, metavar="N", help="decoding threads (default: one for each core)"
    )
    add("--devices", type=_count_or_all, metavar="N|all", help="devices to use (default all)")
    add(
        "--sums",
        choices=("auto", "device", "integer", "host"),
        help="how sums of features are kept: in float64 or whole numbers on the devices, or on the host "
        "(default auto: in whole numbers where devices have no float64)",
    )


def _add_images(parser: argparse.ArgumentParser) -> None:
    """Adds which images are seen."""
    add = parser.add_argument
    add(
        "--crop",
        metavar="adm:SIZE|center|short:SIZE",
        help="cut every image before its input rule (default: not at all)",
    )
    add("--image-key", metavar="ENDING", help="which image of a sample, such as left.png")
    add("--limit", type=int, metavar="N", help="score a random subset of N images (default: all)")
    add("--seed", type=int, metavar="S", help="of that subset (default 0)")
    add(
        "--xflip",
        action="store_const",
        const=True,
        help="take each image of the reference and its mirror image, as StyleGAN's mirrored data sets",
    )
    add("--on-error", choices=("fail", "skip"), help="unreadable files (default fail)")


def add_num_images(parser: argparse.ArgumentParser) -> None:
    """Adds how many images a set must have; `compare` draws as many as it is told."""
    parser.add_argument(
        "--num-images",
        type=int,
        metavar="N",
        help="score exactly N images, drawn at random; fewer are an error, unlike --limit",
    )


def _add_progress(parser: argparse.ArgumentParser) -> None:
    """Adds what a later run finds."""
    add = parser.add_argument
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
        metavar="SECONDS",
        help=f"from one snapshot to the next (default {DEFAULT_RESUME_EVERY_S:g})",
    )
    add(
        "--resume-strict",
        action="store_const",
        const=True,
        help="know a set again by every byte of its images",
    )


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Adds which metrics are computed, and the options that they offer."""
    from jaxfid.metrics.registry import joint_specs, metric_names, metric_options

    names = ",".join([*metric_names(), *joint_specs()])
    parser.add_argument("--metrics", metavar="NAMES", help=f"{names}; all; adm (default fid)")
    for option in metric_options().values():
        parser.add_argument(
            f"--{option.name.replace('_', '-')}",
            type=type(option.default),
            choices=option.choices or None,
            metavar=None if option.choices else "N",
            help=f"{option.help} (default {option.default})",
        )
    parser.add_argument("--blocks", type=int, help=argparse.SUPPRESS)


def add_extractor(parser: argparse.ArgumentParser) -> None:
    """Adds the choice of other networks than the FID's."""
    from jaxfid.extractors.registry import EXTRACTORS

    parser.add_argument(
        "--extractor",
        metavar="NAME[,NAME...]",
        help=f"networks: {', '.join(EXTRACTORS)}; or MODULE:FUNCTION, a function that returns a "
        "jaxfid.Extractor (default inception). Other networks give fd_NAME, no FID",
    )


def _count_or_all(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or all, found {text!r}") from None


def _split_weights(text: str) -> str | dict[str, str]:
    """Returns the weights of each network by its name, where names are given."""
    pairs = [part.partition("=") for part in text.split(",")]
    # A path may hold `=` and commas itself; only names of networks all the way through make it a mapping.
    if not all(name.isidentifier() and equals for name, equals, _ in pairs):
        return text
    return {name: path for name, _, path in pairs}


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that the user gave on the command line."""
    from jaxfid.metrics.registry import metric_options
    from jaxfid.settings import SettingsDict

    names = {*SettingsDict.__annotations__, *metric_options()} - {"progress"}
    # None is "not said": the defaults stand in `Settings` alone.
    given = {name: getattr(options, name, None) for name in names}
    chosen = {name: value for name, value in given.items() if value is not None}
    if "blocks" in chosen:
        say("jaxfid: warning: --blocks is ignored: error bars come from single images now")
        del chosen["blocks"]
    if "weights" in chosen:
        chosen["weights"] = _split_weights(chosen["weights"])
    return {**chosen, "progress": is_first(options)}


def start_jax(compile_cache: str | None = None) -> None:
    """Sets what must be set before JAX starts: a CPU device per core, and the compile cache.

    The cache is what was asked for, or JAX's own setting, or a folder in the user's cache.
    """
    import jax
    import platformdirs

    # One device per core: a CPU runs single images on each core faster than one image on all.
    if jax.config.values["jax_num_cpu_devices"] < 1:  # else JAX_NUM_CPU_DEVICES says otherwise
        jax.config.update("jax_num_cpu_devices", count_usable_cores())
    if compile_cache == "none":
        jax.config.update("jax_compilation_cache_dir", None)
    elif compile_cache or not jax.config.values["jax_compilation_cache_dir"]:
        default = Path(platformdirs.user_cache_dir("jaxfid")) / "compiled"
        jax.config.update("jax_compilation_cache_dir", compile_cache or str(default))
    # JAX leaves out what compiles within a second, which is most programs of a run but the network.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def check_output(path: str | os.PathLike[str]) -> None:
    """Checks before the work begins that the result can be written.

    Raises:
      InputError: There is no such folder, or it cannot be written.
    """
    target = as_path(path)
    # A folder that does not exist is mostly a typing error, so it is not made. Buckets have no folders.
    if not is_remote(path) and (target.is_dir() or not target.parent.is_dir()):
        raise InputError(f"{path}: expected a file in a folder that exists and can be written")
    check_writable(target)
