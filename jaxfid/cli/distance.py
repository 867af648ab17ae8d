"""The command `distance`: features of any origin, of speech or molecules as well as of images."""

import argparse
import json
from pathlib import Path
from typing import Any

from jaxfid.cli.options import say, start_jax
from jaxfid.errors import InputError

METRIC = "frechet_distance"


def add_distance(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `distance`."""
    parser.add_argument("reference", help="feature vectors, (n, d): an .npy, or an .npz")
    parser.add_argument("generated", help="likewise, of the same network")
    parser.add_argument("--json", metavar="PATH", help="write the result as JSON; - for stdout")


def run_distance(options: argparse.Namespace) -> None:
    """Prints the squared Frechet distance of two files of features; never a FID, by its name.

    Raises:
      InputError: A file is missing, corrupt or holds no features; or their widths differ.
    """
    from jaxfid.stats.features import load_features

    reference, generated = load_features(options.reference), load_features(options.generated)
    start_jax()
    value = _compute(options, reference, generated)
    width = reference.shape[1]
    for name, count in ((options.reference, len(reference)), (options.generated, len(generated))):
        if count <= width:
            say(
                f"jaxfid: warning: {name}: {count} vectors of {width} features leave the covariance "
                "singular: the distance is exact for these vectors, but far above that of more of them"
            )
    if options.json != "-":
        counts = f"{len(generated)} against {len(reference)} vectors of {width} features"
        print(f"{options.generated}: {METRIC} {value:.6g} ({counts})")
    if options.json:
        _write(options.json, _describe(options, value, len(reference), len(generated), width))


def _compute(options: argparse.Namespace, reference: Any, generated: Any) -> float:  # noqa: ANN401
    from jaxfid.metrics.frechet.distance import frechet_distance_from_features

    try:
        return frechet_distance_from_features(reference, generated)
    except InputError as error:
        names = f"features_a is {options.reference}, features_b is {options.generated}"
        raise InputError(f"{error} ({names})") from error


def _describe(
    options: argparse.Namespace, value: float, reference: int, generated: int, width: int
) -> dict[str, Any]:
    from jaxfid.environment import describe_environment

    return {
        "reference": {"name": options.reference, "num_vectors": reference},
        "environment": describe_environment(),
        "results": [
            {
                "generated": options.generated,
                "num_vectors": generated,
                "width": width,
                "metrics": {METRIC: {"value": value}},
            }
        ],
    }


def _write(path: str, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=2)
    if path == "-":
        print(text)
        return
    try:
        Path(path).write_text(text + "\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
