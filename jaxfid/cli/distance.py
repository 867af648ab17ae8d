"""The command `distance`: features of any origin, of speech or molecules as well as of images."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from jaxfid.cli.options import check_output, start_jax
from jaxfid.cli.output import print_line, say
from jaxfid.errors import InputError
from jaxfid.provenance import describe_environment, diff_features
from jaxfid.storage.files import write_file

if TYPE_CHECKING:
    from jaxfid.stats.features import Features

METRIC = "frechet_distance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `distance`."""
    parser.add_argument("reference", help="feature vectors, (n, d): an .npy, or an .npz")
    parser.add_argument("generated", help="likewise, of the same network")
    parser.add_argument("--json", metavar="PATH", help="write the result as JSON; - for stdout")


def run(options: argparse.Namespace) -> None:
    """Prints the squared Frechet distance of two files of features.

    It is not called an FID: the features may be of any network.

    Raises:
      InputError: A file is missing, corrupt or holds no features; or their widths differ.
    """
    if options.json and options.json != "-":
        check_output(options.json)
    start_jax()
    from jaxfid.stats.features import load_features

    reference, generated = load_features(options.reference), load_features(options.generated)
    # Before the warnings: files of different widths are an error, and no warning of theirs is wanted.
    value = _compute(options, reference, generated)
    _warn_of_provenance(options, reference, generated)
    width = reference.rows.shape[1]
    for name, rows in ((options.reference, reference.rows), (options.generated, generated.rows)):
        if len(rows) <= width:
            say(
                f"jaxfid: warning: {name}: {len(rows)} vectors of {width} features leave the covariance "
                "singular: the distance is exact for these vectors, but far above that of more of them"
            )
    _show(options, value, len(reference.rows), len(generated.rows), width)


def _warn_of_provenance(
    options: argparse.Namespace, reference: "Features", generated: "Features"
) -> None:
    """Says what is known to differ between the features: their distance would be of the settings as well."""
    if reference.provenance is None or generated.provenance is None:
        return
    unequal = diff_features(generated.provenance, reference.provenance)
    if unequal:
        files = f"{options.generated} and {options.reference}"
        say(f"jaxfid: warning: {files} were made under other settings: {'; '.join(unequal)}")


def _compute(options: argparse.Namespace, reference: "Features", generated: "Features") -> float:
    from jaxfid.metrics.frechet.distance import frechet_distance_from_features

    try:
        return frechet_distance_from_features(reference.rows, generated.rows)
    except (
        InputError
    ) as error:  # it speaks of Python's arguments, which the user of a command never wrote
        names = f"features_a is {options.reference}, features_b is {options.generated}"
        raise InputError(f"{error} ({names})") from error


def _show(
    options: argparse.Namespace, value: float, num_reference: int, num_generated: int, width: int
) -> None:
    """Saves first and prints after."""
    text = json.dumps(_describe(options, value, num_reference, num_generated, width), indent=2)
    if options.json == "-":
        print_line(text)
        return
    if options.json:
        write_file(options.json, text + "\n")
    counts = f"{num_generated} against {num_reference} vectors of {width} features"
    print_line(f"{options.generated}: {METRIC} {value:.6g} ({counts})")


def _describe(
    options: argparse.Namespace, value: float, num_reference: int, num_generated: int, width: int
) -> dict[str, Any]:
    return {
        "reference": {"name": options.reference, "num_vectors": num_reference},
        "environment": describe_environment(num_processes=1),
        "results": [
            {
                "generated": options.generated,
                "num_vectors": num_generated,
                "width": width,
                "metrics": {METRIC: {"value": value}},
            }
        ],
    }
