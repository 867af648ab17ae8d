"""The command `weights`."""

import argparse
from typing import TYPE_CHECKING

from jaxfid.cli.output import print_line

if TYPE_CHECKING:
    from jaxfid.extractors.stored import StoredWeights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of `weights`."""
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, run, text in (
        ("status", _status, "say which weights are here"),
        ("download", _download, "fetch a network's published weights into the cache"),
        ("import", _import, "take weights from a file"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text.capitalize()}.")
        action.set_defaults(run=run)
        if name == "import":
            action.add_argument("path", metavar="PATH")
            action.add_argument(
                "--extractor",
                metavar="NAME",
                help="whose weights they are, where no digest tells it",
            )
        if name == "download":
            action.add_argument(
                "extractor", nargs="?", default="inception", help="the network (default inception)"
            )


def run(options: argparse.Namespace) -> None:
    """Runs the action that was asked for."""
    options.run(options)


def _status(options: argparse.Namespace) -> None:
    from jaxfid.extractors.stored import weights_status

    status = weights_status()
    print_line(f"auto        {status.environment or status.release.name}")
    print_line(f"cache       {status.cache_dir}")
    for stored in status.stored:
        print_line(f"here        {stored.name}  sha256 {stored.sha256}  {stored.path}")
    for damaged in status.damaged:
        print_line(f"damaged     {damaged}")
    for release in status.missing:
        print_line(f"not here    {release.name}  {', '.join(release.networks)}  {release.url}")


def _download(options: argparse.Namespace) -> None:
    from jaxfid.extractors.stored import download_weights

    _show_stored(download_weights(options.extractor))


def _import(options: argparse.Namespace) -> None:
    from jaxfid.extractors.stored import import_weights

    _show_stored(import_weights(options.path, network=options.extractor))


def _show_stored(stored: "StoredWeights") -> None:
    kind = "official" if stored.official else "not official: name its path to use it"
    print_line(f"{stored.path}: {stored.name}, sha256 {stored.sha256} ({kind})")
