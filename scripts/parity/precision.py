"""What faster precisions cost: errors of features and of FIDs against float32 on the same images."""

import argparse

import jax
from extraction import Features, extract_features, open_some, relative_errors

from jaxfid import frechet_distance_from_features


def compare_precisions(options: argparse.Namespace) -> None:
    """Prints a table with a row per feature and precision."""
    sources = [open_some(folder, options.limit) for folder in (options.reference, options.images)]
    counts = " and ".join(f"{len(source)} of {source.name}" for source in sources)
    device = jax.devices()[0].device_kind
    print(f"Per precision, against float32, on {device}: {counts}\n")
    names = dict.fromkeys(["float32", *options.precisions])
    found = {
        name: extract_features(
            sources, weights=options.weights, features=options.features, precision=name
        )
        for name in names
    }
    print(
        f"{'feature':<9}{'precision':<15}{'feature error, median':>22}{'max':>10}"
        f"{'FID':>14}{'its error':>12}{'relative':>11}"
    )
    for feature in options.features:
        for name in names:
            _print_row(feature, name, found[name], found["float32"])
    if device == "cpu":
        print("A CPU has no TF32: tensorfloat32 is float32 there.")


def _print_row(
    feature: str, precision: str, found: list[Features], expected: list[Features]
) -> None:
    errors = relative_errors(found[1][feature], expected[1][feature])
    fid, wanted = (
        frechet_distance_from_features(*(side[feature] for side in sides))
        for sides in (found, expected)
    )
    print(
        f"{feature:<9}{precision:<15}{sorted(errors)[len(errors) // 2]:>22.1e}{errors.max():>10.1e}"
        f"{fid:>14.7g}{fid - wanted:>12.1e}{fid / wanted - 1:>11.1e}"
    )
