"""Options of `compare` that say what a sampler is called with."""

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, get_args

from jaxfid.checkpoints.defaults import CHUNK_SIZE, NUM_IMAGES, SamplerPlacement
from jaxfid.errors import InputError

NAMES = (
    *("sampler_args", "sampler_placement", "sweep", "labels", "num_images", "chunk_size"),
    *("noise_seeds", "sampler_id"),
)
"""Those that are passed on as they are, where they are given."""


def add_sampler_options(add: Callable[..., object]) -> None:
    """Adds the options to a group."""
    add(
        "--sampler-args",
        action="append",
        type=parse_arguments,
        metavar="JSON|NAME=VALUE,...",
        help="further arguments of the sampler's function, or of sample where only that takes the name",
    )
    add(
        "--sweep",
        action="append",
        type=parse_axis,
        metavar="NAME=V,V,...",
        help="score every value of an argument; several of these are a grid, each combination a row",
    )
    add(
        "--labels",
        metavar="balanced:K|FILE.npy",
        help="call sample(key, labels): image i is of class i modulo K, or as the file says",
    )
    add("--num-images", type=int, metavar="N", help=f"images of each (default {NUM_IMAGES})")
    add("--chunk-size", type=int, metavar="N", help=f"images per call (default {CHUNK_SIZE})")
    add(
        "--noise-seeds",
        type=_split_seeds,
        metavar="S,S",
        help="draw each checkpoint once from each of these (default: once, from --seed)",
    )
    add(
        "--sampler-placement",
        choices=get_args(SamplerPlacement),
        help="who calls the sampler: each process on its devices (default), each device by itself, or all "
        "processes together",
    )
    add(
        "--sampler-id",
        metavar="NAME",
        help="know the sampler again by this name, not by its source and what that reads",
    )


def chosen_sampler_options(options: argparse.Namespace) -> dict[str, Any]:
    """Returns what was given, as `compare_checkpoints` takes it.

    Raises:
      InputError: A name is given twice.
    """
    given = {name: getattr(options, name) for name in NAMES}
    given["sampler_args"] = _join("sampler_args", options.sampler_args or [])
    given["sweep"] = _join("sweep", options.sweep or [])
    return {name: value for name, value in given.items() if value is not None and value != {}}


def parse_arguments(text: str) -> dict[str, Any]:
    """Returns arguments by name.

    A text that begins with `{` is an object of JSON. Any other is `name=value`, several with commas; a value
    that is JSON is that, and any other is text.
    """
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected JSON, found {text!r}: {error}") from None
    parts = [part.partition("=") for part in text.split(",")]
    if not all(name and equals for name, equals, _ in parts):
        _refuse(f"expected NAME=VALUE,... or JSON, found {text!r}")
    if len({name for name, _, _ in parts}) < len(parts):
        _refuse(f"expected each name once, found {text!r}")
    return {name.strip(): _parse_value(value) for name, _, value in parts}


def parse_axis(text: str) -> dict[str, list[Any]]:
    """Returns the values of one argument, `cfg=1.0,1.5`; values with commas in them are a list of JSON."""
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        _refuse(f"expected NAME=VALUE,VALUE, found {text!r}")
    if not values.startswith("["):
        return {name.strip(): [_parse_value(value) for value in values.split(",")]}
    try:
        return {name.strip(): json.loads(values)}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected JSON, found {values!r}: {error}") from None


def _parse_value(text: str) -> Any:  # noqa: ANN401
    # Python's JSON takes some of these for numbers, and the others would reach the sampler as words.
    if text.strip().lstrip("+-").lower() in ("nan", "inf", "infinity"):
        _refuse(f"expected finite numbers or text, found {text.strip()}")
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _split_seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        _refuse(f"expected whole numbers with commas, found {text!r}")


def _refuse(message: str) -> NoReturn:
    raise argparse.ArgumentTypeError(message)


def _join(argument: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for part in parts:
        if twice := joined.keys() & part.keys():
            raise InputError(
                f"{argument}: expected {', '.join(sorted(twice))} once, found it twice"
            )
        joined |= part
    return joined
