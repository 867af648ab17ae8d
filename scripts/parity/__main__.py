"""Prints how far jaxfid's features and FIDs are from what they should be, on real images.

Per precision: features and FID against float32's. Per protocol, where a Python with the reference tools is
given: features against those that the protocol's own tool gives to the same image files.

    .venv/bin/python scripts/parity --images DIR --reference DIR --weights FILE [--peer-python PYTHON]

About 5 minutes at the defaults on two cores. Ends with 1 where a limit is passed.
"""

import argparse
from pathlib import Path

from extraction import FEATURES, start_jax
from precision import compare_precisions
from protocols import TOOLS, compare_protocols

from jaxfid.extractors.precision import PRECISIONS


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        prog="scripts/parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, help="a folder of images to score")
    add("--reference", type=Path, required=True, help="a folder of images to score against")
    add("--weights", default="auto", help="a .pth file (default: the official weights)")
    add("--limit", type=int, default=100, help="images of each, for precisions (%(default)s)")
    add("--files", type=int, default=20, help="image files, for protocols (%(default)s)")
    add("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    add("--protocols", nargs="*", choices=TOOLS, default=list(TOOLS))
    add("--features", nargs="+", choices=FEATURES, default=list(FEATURES))
    add("--peer-python", type=Path, help="a Python with pytorch-fid, torch-fidelity, clean-fid")
    options = parser.parse_args()
    start_jax()
    compare_precisions(options)
    if options.peer_python is None:
        print("\nPer protocol: not compared, as no --peer-python is given.")
    elif not compare_protocols(options):
        raise SystemExit("A protocol's features are further from its tool's than they may be.")


if __name__ == "__main__":
    main()
