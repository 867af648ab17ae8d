"""The command `features`."""

import argparse

from jaxfid.cli.options import (
    add_extractor,
    add_settings,
    check_output,
    chosen_settings,
    start_jax,
)
from jaxfid.cli.output import print_line, say_skipped
from jaxfid.cli.processes import is_first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `features`."""
    parser.add_argument("images", help="images")
    parser.add_argument("-o", "--output", required=True, metavar="FEATURES.npz")
    add_settings(parser)
    add_extractor(parser)


def run(options: argparse.Namespace) -> None:
    """Runs `features`: the features of every image, its key, and what they depend on.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    if is_first(options):
        check_output(options.output)
    start_jax(options.compile_cache)
    from jaxfid.evaluate import extract_features_of
    from jaxfid.stats.features import save_features

    features, extracted = extract_features_of(options.images, **chosen_settings(options))
    if is_first(options):
        save_features(
            options.output, features
        )  # first: a line that cannot be printed costs no result
        say_skipped(extracted.skipped)
        count, width = features.rows.shape
        print_line(f"{options.output}: {width} features of {count} images")
