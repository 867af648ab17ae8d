"""Options that say which sets are one model."""

import argparse
from collections.abc import Mapping

from jaxfid.errors import InputError


def add_replicates(parser: argparse.ArgumentParser) -> None:
    """Adds which sets are one model, and what differs between them."""
    group = parser.add_argument_group("sets that are one model")
    add = group.add_argument
    add(
        "--replicates",
        action="append",
        metavar="NAME=SET,SET",
        help="these sets, called as above, are of one model; may be given for each model",
    )
    add(
        "--replicates-by", metavar="REGEX", help="the same for all: its first group names the model"
    )
    add(
        "--repeated",
        choices=("training", "sampling"),
        default="training",
        help="what was done again for each of them (default %(default)s)",
    )


def chosen_replicates(options: argparse.Namespace) -> Mapping[str, list[str]] | str | None:
    """Returns what was said of the sets, as `compute_metrics` takes it.

    Raises:
      InputError: Both options were given, a group has no name or no sets, or a model two groups.
    """
    if options.replicates is None:
        return options.replicates_by
    if options.replicates_by is not None:
        raise InputError("replicates: expected --replicates or --replicates-by, found both")
    groups: dict[str, list[str]] = {}
    for text in options.replicates:
        name, _, sets = text.partition("=")  # the first one: paths may hold more
        if not name or not sets:
            raise InputError(f"replicates: expected NAME=SET,SET, found {text!r}")
        if name in groups:
            raise InputError(f"replicates: expected one group of {name}, found two")
        groups[name] = sets.split(",")
    return groups
