"""What the TPU's compiler makes of a pass: no TPU is needed.

For each kind of chip, number of chips, extractor and precision: seconds to compile, temporary memory and
bytes moved per image, for the two programs of a pass, from images of 256 pixels to features. Neither may
hold float64 or a message between chips. The compiler's own estimate of seconds is not shown: it is wrong by
orders of magnitude.

    .venv/bin/pip install 'jax[tpu]'    # of the version that is installed
    .venv/bin/python scripts/bench/tpu_compile.py --chips v5e:4x4 v6e:4x4 --precisions bfloat16

The default is one kind of chip and bfloat16, a few minutes on two cores; float32 takes several times as
long. `--chips v5e:2x2 v5e:16x16 v5p:2x2x1 v5p:4x8x8 v6e:2x2 v6e:16x16` are 4 and 256 chips of each kind.
"""

import os

# No TPU is here whose settings could be asked for; several of these may run at once.
os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1", JAX_PLATFORMS="cpu")

import argparse
import itertools
from collections.abc import Iterator

import jax
import numpy as np
from lib.measure import make_parser
from lib.report import Report, Row
from lib.tpu_compiler import Compiled, compile_for, make_mesh, shape_tree

from jaxfid.extraction.feature_pass import make_programs
from jaxfid.extractors.interface import Extractor
from jaxfid.extractors.precision import PRECISIONS
from jaxfid.extractors.registry import LoadOptions, load_extractor
from jaxfid.preprocessing.resize import batch_positions


def compile_pass(
    extractor: Extractor, topology: str, *, side_px: int, rows: int
) -> Iterator[tuple[str, Compiled]]:
    """Yields the name of each program and what the compiler says of it.

    Args:
      extractor: The network.
      topology: Chips, such as `v5e:4x4`.
      side_px: Side of the images.
      rows: Images of one chip.
    """
    mesh = make_mesh(topology)
    total = rows * mesh.size
    prepare, network = make_programs(extractor, mesh)
    images = jax.ShapeDtypeStruct((total, side_px, side_px, 3), np.uint8)
    positions = batch_positions(extractor.protocol, np.full((total, 2), side_px))
    resizing = shape_tree((images, positions), mesh, by_rows=True)
    yield "resize", compile_for(prepare, (), resizing)
    params = shape_tree(extractor.params, mesh, by_rows=False)
    resized = shape_tree(jax.eval_shape(prepare, (), resizing), mesh, by_rows=True)
    yield "network", compile_for(network, params, resized)


def _make_row(what: Row, found: Compiled, rows: int) -> Row:
    return {
        **what,
        "compile, s": round(found.seconds, 1),
        "moved, MB/image": round(found.moved_bytes / rows / 1e6, 2),
        "temporary, MB": round(found.temporary_bytes / 1e6, 1),
    }


def _parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--chips", nargs="+", default=["v5e:4x4"], help="(%(default)s)")
    parser.add_argument("--extractors", nargs="+", default=["inception"], help="(%(default)s)")
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=["bfloat16"], help="(%(default)s)"
    )
    parser.add_argument("--side", type=int, default=256, help="of the images, pixels (%(default)s)")
    parser.add_argument("--rows", type=int, default=64, help="images of one chip (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Runs the bench."""
    options = _parse()
    report = Report(options)
    table: list[Row] = []
    chosen = itertools.product(options.chips, options.extractors, options.precisions)
    for topology, name, precision in chosen:
        loaded = load_extractor(name, LoadOptions("untrained", precision))
        parts = compile_pass(loaded, topology, side_px=options.side, rows=options.rows)
        for program, found in parts:
            what = f"{topology}, {name}, {precision}: {program}"
            report.check(f"{what}: float64", found.has_float64, 0)
            report.check(f"{what}: messages between chips", len(found.collectives), 0)
            keys = {"chips": topology, "extractor": name, "precision": precision}
            table.append(_make_row({**keys, "program": program}, found, options.rows))
    report.table(f"{options.side}-pixel images to features, {options.rows} a chip", table)
    report.save()


if __name__ == "__main__":
    main()
