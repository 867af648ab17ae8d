"""The command `weights`."""

import argparse
from typing import TYPE_CHECKING

from jaxfid.cli.output import print_line

if TYPE_CHECKING:
    from jaxfid.extractors.weights import StoredWeights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of `weights`."""
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, run, text in (
        ("status", _status, "say which weights are here"),
        ("download", _download, "fetch the official weights into the cache"),
        ("import", _import, "take weights from a file"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text.capitalize()}.")
        action.set_defaults(run=run)
        if name == "import":
            action.add_argument("path", metavar="PATH")


def run(options: argparse.Namespace) -> None:
    """Runs the action that was asked for."""
    options.run(options)


def _status(options: argparse.Namespace) -> None:
    from jaxfid.extractors.weights import weights_status

    status = weights_status()
    print_line(f"auto        {status.environment or status.release.name}")
    print_line(f"cache       {status.cache_dir}")
    for stored in status.stored:
        print_line(f"here        {stored.name}  sha256 {stored.sha256}  {stored.path}")
    for damaged in status.damaged:
        print_line(f"damaged     {damaged}")
    # Other weights may lie there; what `auto` needs is missing nevertheless.
    if not any(stored.official for stored in status.stored):
        print_line(f"not here    {status.release.name}  {status.release.url}")


def _download(options: argparse.Namespace) -> None:
    from jaxfid.extractors.weights import download_weights

    _show_stored(download_weights())


def _import(options: argparse.Namespace) -> None:
    from jaxfid.extractors.weights import import_weights

    _show_stored(import_weights(options.path))


def _show_stored(stored: "StoredWeights") -> None:
    kind = "official" if stored.official else "not official: name its path to use it"
    print_line(f"{stored.path}: {stored.name}, sha256 {stored.sha256} ({kind})")
