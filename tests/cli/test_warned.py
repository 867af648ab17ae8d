"""Warnings of several sets are said once, with the sets that they hold of."""

from jaxfid.cli.warned import Warned


def test_each_once_and_at_the_end_what_holds_of_some(capsys):
    warned = Warned(["real", "a", "b"])
    warned.take(["no FIDs", "real: few", "a: few", "a: broken"])
    warned.take(["no FIDs", "real: few", "b: few"])
    assert capsys.readouterr().err == "jaxfid: warning: no FIDs\n"
    warned.finish()
    warned.finish()
    said = "jaxfid: warning: real, a, b: few\njaxfid: warning: a: broken\n"
    assert capsys.readouterr().err == said
