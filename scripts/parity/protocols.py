"""From image file to feature: jaxfid's protocols against the tools that they are named after."""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from extraction import Features, extract_features, open_some, relative_errors

LIMIT = 1e-5
"""Relative L2 of one image's features: float32 rounding of resize and network, in another order."""
TOOLS = {
    "legacy_tensorflow": "torch-fidelity",
    "legacy_pytorch": "pytorch-fid",
    "clean": "clean-fid's resize",
}
PEER = Path(__file__).parents[1] / "peers" / "reference_features.py"


def compare_protocols(options: argparse.Namespace) -> bool:
    """Prints a table with a row per protocol and feature; returns whether all keep the limit."""
    sources = [open_some(folder, options.files) for folder in (options.reference, options.images)]
    count = sum(map(len, sources))
    print(f"\nPer protocol, from {count} image files to features, at most {LIMIT:.0e}\n")
    print(f"{'protocol':<19}{'tool':<20}{'feature':<9}{'error, median':>14}{'max':>10}")
    worst = 0.0
    for protocol in options.protocols:
        chosen = {"weights": options.weights, "protocol": protocol, "features": options.features}
        found = extract_features(sources, **chosen)
        files = [
            folder / key
            for folder, source in zip((options.reference, options.images), sources, strict=True)
            for key in source.keys
        ]
        expected = _extract_by_tool(protocol, files, options)
        for feature in options.features:
            own = np.concatenate([side[feature] for side in found])
            errors = relative_errors(own, expected[feature])
            worst = max(worst, errors.max())
            print(
                f"{protocol:<19}{TOOLS[protocol]:<20}{feature:<9}"
                f"{np.median(errors):>14.1e}{errors.max():>10.1e}"
            )
    return worst <= LIMIT


def _extract_by_tool(protocol: str, files: list[Path], options: argparse.Namespace) -> Features:
    weights = "-" if options.weights == "auto" else options.weights
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "features.npz"
        command = [options.peer_python, PEER, protocol, weights, output]
        listing = "\n".join(map(str, files))
        subprocess.run([str(word) for word in command], input=listing, text=True, check=True)
        with np.load(output) as arrays:
            return dict(arrays)
