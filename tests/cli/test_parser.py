"""Mistakes in arguments: one line, exit code 2, and the word that was probably meant."""

import dataclasses

import pytest

from jaxfid.cli import COMMANDS, make_parser
from jaxfid.cli.parser import join_negative_ranges
from jaxfid.settings import FeatureSettings, RuntimeSettings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected COMMAND, found nothing. See jaxfid --help"),
        (["scor"], "found 'scor'; did you mean score? See jaxfid --help"),
        (["score", "real"], "expected generated, found nothing. See jaxfid score --help"),
        (["score", "a", "b", "--protocol", "cleen"], "found 'cleen'; did you mean clean?"),
        (["score", "a", "b", "--protocl=clean"], "no option --protocl; did you mean --protocol?"),
        (["score", "a", "b", "--zzz"], "there is no option --zzz. See jaxfid score --help"),
        (["score", "a", "b", "--dims", "many"], "--dims: expected a whole number, found 'many'"),
        (["score", "a", "b", "--resume-every", "now"], "expected a number, found 'now'"),
        (["score", "a", "b", "--devices", "two"], "expected a number or all, found 'two'"),
        (["report", "a", "b", "-o", "c"], "b: expected no more arguments"),
    ],
)
def test_one_line_says_what_is_wrong(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        make_parser(arguments[:1]).parse_args(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("jaxfid: error: ")
    assert said.count("\n") == 1


def test_a_range_below_zero_needs_no_equals_sign():
    arguments = join_negative_ranges(["compare", "r", "--value-range", "-1..1", "--out", "run"])
    options = make_parser(["compare"]).parse_args(arguments)
    assert (options.value_range, options.out) == ("-1..1", "run")


def test_the_help_states_every_default():
    parsers = make_parser([*COMMANDS])._subparsers._group_actions[0].choices
    actions = {a.dest: a for parser in parsers.values() for a in parser._actions}
    chosen = [f for part in (FeatureSettings, RuntimeSettings) for f in dataclasses.fields(part)]
    values = [f.name for f in chosen if f.default not in (None, False, dataclasses.MISSING)]
    # Of these, None stands for a choice that depends on the machine or on the set.
    values += ["batch_size", "num_workers", "devices", "limit", "crop", "metrics", "compile_cache"]
    for name in {*values} & {*actions}:
        assert "default" in actions[name].help, name
    assert len({*values} & {*actions}) > 12
    for action in actions.values():
        if action.default not in (None, "==SUPPRESS==", False) and action.option_strings:
            assert "default" in (action.help or ""), action.option_strings
