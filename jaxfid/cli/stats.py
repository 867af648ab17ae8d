"""The command `stats`."""

import argparse
import functools
from typing import TYPE_CHECKING

from jaxfid.cli.saving import add_saving, extract_and_save, start

if TYPE_CHECKING:  # imports JAX, which `start` sets up first
    from jaxfid.stats.files import Stats

_FORMATS = ("jaxfid", "pytorch-fid", "edm2", "dgm-eval")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `stats`."""
    add_saving(parser, output="STATS.npz")
    parser.add_argument(
        "--metrics",
        choices=("fid", "fid,sfid"),
        metavar="fid[,sfid]",
        help="what they are to serve (default fid)",
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default=_FORMATS[0],
        help="whose file to write (default jaxfid, which is read by pytorch-fid too); dgm-eval's has the "
        "features of every image",
    )


def run(options: argparse.Namespace) -> None:
    """Runs `stats`.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    start(options)
    from jaxfid.evaluate import extract_features_of, extract_stats
    from jaxfid.stats.files import save_stats
    from jaxfid.stats.formats import check_format

    check_format(options.format, options.output, _foresee(options))
    save = functools.partial(save_stats, format=options.format)
    if options.format == "dgm-eval":
        extract_and_save(
            options, extract_features_of, save, lambda f: f"features of {len(f.rows)} images"
        )
    else:
        extract_and_save(options, extract_stats, save, _describe)


def _describe(stats: "Stats") -> str:
    # Other tools' files do not say of how many images they are.
    count = "an unknown number of" if stats.count is None else stats.count
    return f"statistics of {count} images"


def _foresee(options: argparse.Namespace) -> dict[str, object]:
    """What the provenance will say: known before the images are seen, which may take an hour."""
    from jaxfid.extractors.registry import EXTRACTORS

    name = options.extractor or "inception"
    spec = EXTRACTORS.get(name)
    rules, widths = (spec.protocols, spec.features) if spec else ((), {})
    return {
        "extractor": name,
        "protocol": options.protocol or next(iter(rules), None),
        "dims": options.dims or next(iter(widths.values()), None),
    }
