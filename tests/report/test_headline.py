"""What stands at the head of the page."""

import dataclasses

from jaxfid.report.headline import collect_warnings
from tests.report.entries import make_entry, make_failure


def warn(entry, *warnings):
    return dataclasses.replace(
        entry, scores=dataclasses.replace(entry.scores, warnings=list(warnings))
    )


def test_a_warning_names_the_sets_that_it_holds_of():
    entries = [
        warn(make_entry(1, 9.0), "no FIDs", "step1: few images", "step1: 34% were clipped"),
        warn(make_entry(2, 8.0), "no FIDs", "step2: few images", "step2: 8% were clipped"),
        warn(make_entry(3, 7.0), "no FIDs", "step3: few images", "step3: 8% were clipped"),
        make_failure(4),
    ]
    assert collect_warnings(entries) == [
        "no FIDs",
        "each set: few images",
        "step1: 34% were clipped",
        "step2, step3: 8% were clipped",
    ]
