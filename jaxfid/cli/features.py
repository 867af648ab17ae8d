"""The command `features`."""

import argparse

from jaxfid.cli.saving import add_saving, extract_and_save, start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `features`."""
    add_saving(parser, output="FEATURES.npz")


def run(options: argparse.Namespace) -> None:
    """Runs `features`: the features of every image, its key, and what they depend on.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    start(options)
    from jaxfid.evaluate import extract_features_of
    from jaxfid.stats.features import Features, save_features

    def describe(features: Features) -> str:
        count, width = features.rows.shape
        return f"{width} features of {count} images"

    extract_and_save(options, extract_features_of, save_features, describe)
