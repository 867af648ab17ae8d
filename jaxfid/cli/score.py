"""The command `score`."""

import argparse
from typing import Any

from jaxfid.cli.logs import add_logs, check_logs, open_logs, to_entry
from jaxfid.cli.options import (
    add_extractor,
    add_metrics,
    add_num_images,
    add_settings,
    check_output,
    chosen_settings,
    start_jax,
)
from jaxfid.cli.output import print_line, say_skipped
from jaxfid.cli.processes import is_first
from jaxfid.cli.replicates import add_replicates, chosen_replicates
from jaxfid.cli.warned import Warned
from jaxfid.errors import InputError
from jaxfid.result import Result, SetResult
from jaxfid.storage.files import write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `score`."""
    add = parser.add_argument
    positionals = (
        add("reference", help="images, a statistics file or a features file"),
        add("generated", nargs="+", help="likewise"),
    )
    add(
        "--reference",
        dest="named_reference",
        action=_ByName,
        const=positionals,
        metavar="SET",
        help="the same by name",
    )
    add(
        "--generated",
        dest="named_generated",
        action=_ByName,
        const=positionals,
        nargs="+",
        metavar="SET",
        help="likewise, for those who are used to the other order",
    )
    add_settings(parser)
    add_num_images(parser)
    add_extractor(parser)
    add_metrics(parser)
    add("--per-class", action="store_true", help="each class by itself as well")
    add_replicates(parser)
    add_logs(parser)
    parser.set_defaults(check=_check)
    add("--json", metavar="PATH", help="write the result as JSON; - for stdout")
    add("--verify", action="store_const", const=True, help="each distance by SciPy's sqrtm as well")
    add(
        "--allow-mismatch",
        action="store_const",
        const=True,
        help="compare statistics made under other settings, with a warning",
    )


def _check(options: argparse.Namespace) -> None:
    _name_sets(options)
    check_logs(options)


class _ByName(argparse.Action):
    """Takes a set by name, so that it need not be given by its place, as the actions in `const` ask."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        for positional in self.const:
            positional.required = False


def _name_sets(options: argparse.Namespace) -> None:
    """Finds out which set is the reference: the one named so, else the first."""
    by_place = [options.reference, *(options.generated or ())] if options.reference else []
    reference = options.named_reference or (by_place.pop(0) if by_place else None)
    generated = [*by_place, *(options.named_generated or ())]
    if reference is None or not generated:
        raise InputError(
            "expected a reference and one generated set or more, as REFERENCE GENERATED or by "
            f"--reference and --generated, found {reference or ', '.join(generated) or 'none'} alone"
        )
    options.reference, options.generated = reference, generated


def run(options: argparse.Namespace) -> None:
    """Runs `score`: a line for each set as it is finished, then for each model, then how they compare.

    Raises:
      InputError: An argument or a file is not what it should be.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    first = is_first(options)
    # Before JAX starts, so that a wrong path is told at once.
    if first and options.json and options.json != "-":
        check_output(options.json)
    start_jax(options.compile_cache)
    from jaxfid.evaluate import compute_metrics

    replicates = chosen_replicates(options)  # before the first image
    show = _Lines(options).show if first else lambda scored: None
    result = compute_metrics(
        options.reference,
        options.generated,
        num_images=options.num_images,
        per_class=options.per_class,
        replicates=replicates,
        repeated=options.repeated,
        on_result=show,
        **chosen_settings(options),
    )
    if first:
        _finish(result, options)


class _Lines:
    """What is shown of each set as soon as it is scored."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._names, self._left = options.generated, len(options.generated)
        self._warned = Warned([options.reference, *options.generated])
        self._logs = open_logs(options)
        self._only_json = options.json == "-"  # stdout is then for a program to read

    def show(self, scored: SetResult) -> None:
        """Says what a reader has to know, and prints the values."""
        from jaxfid.report.tables import format_classes, format_set

        self._warned.take(scored.warnings)
        self._left -= 1
        if not self._left:  # above the last value, and not below a long table
            self._warned.finish()
        say_skipped(scored.skipped)
        for write in self._logs:
            write(to_entry(scored, self._names))
        if self._only_json:
            return
        print_line(format_set(scored, among=self._names))
        if scored.classes:
            print_line(format_classes(scored))


def _finish(result: Result, options: argparse.Namespace) -> None:
    """Saves first and prints after: a line that cannot be printed does not cost the result."""
    if options.json == "-":
        print_line(result.to_json())
        return
    if options.json:
        write_file(options.json, result.to_json() + "\n")
    for found in (*result.replicates, *result.comparisons):
        print_line(str(found))
    for name, ranking in result.rankings.items():
        print_line(f"ranking by {name}:")
        for ranked in ranking:
            print_line(f"  {ranked}")
