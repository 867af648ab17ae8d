"""What `stats` and `features` share: both save what a network makes of one set."""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from jaxfid.cli.options import (
    add_extractor,
    add_num_images,
    add_settings,
    check_output,
    chosen_settings,
    start_jax,
)
from jaxfid.cli.output import print_line, say_skipped
from jaxfid.cli.processes import is_first

if TYPE_CHECKING:  # imports JAX, which `start` sets up first
    from jaxfid.extraction.image_set import ExtractedSet

_T = TypeVar("_T")


def add_saving(parser: argparse.ArgumentParser, *, output: str) -> None:
    """Adds the set, the file that is written (`output` in the help), and how images are seen."""
    parser.add_argument("images", help="images")
    parser.add_argument("-o", "--output", required=True, metavar=output)
    add_settings(parser)
    add_num_images(parser)
    add_extractor(parser)


def start(options: argparse.Namespace) -> None:
    """Checks the output before the work begins, and sets JAX up.

    Raises:
      InputError: The file cannot be written.
    """
    if is_first(options):
        check_output(options.output)
    start_jax(options.compile_cache)


def extract_and_save(
    options: argparse.Namespace,
    extract: "Callable[..., tuple[_T, ExtractedSet]]",
    save: Callable[[str | os.PathLike[str], _T], None],
    describe: Callable[[_T], str],
) -> None:
    """Runs the pass and saves what it made; every process extracts and the first one writes."""
    made, extracted = extract(
        options.images, num_images=options.num_images, **chosen_settings(options)
    )
    if is_first(options):
        save(options.output, made)  # first: a line that cannot be printed costs no result
        say_skipped(extracted.skipped)
        print_line(f"{options.output}: {describe(made)}")
