"""Tables of a comparison."""

import csv
import json
import math

import pytest

from jaxfid.report.row_names import short_names
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.tables import (
    compare_entries,
    describe_gap,
    find_best,
    format_csv,
    format_json,
    format_set,
    format_table,
    show_metric,
)
from jaxfid.report.text_table import align_columns
from jaxfid.result import Comparison, MetricValue, SetResult
from tests.report.entries import make_entry, make_failure

ENTRIES = [
    make_entry(1, 9.0, kid=0.5),
    make_failure(2),
    make_entry(3, 4.0, seed=7, kid=0.2),
    make_entry(4, 4.1, seed=7, kid=0.3),  # moves with the third: the gap is certain
    make_entry(5, 4.1, kid=0.3),  # does not: the gap may be chance
]


def test_text_table():
    head, *rows = format_table(ENTRIES).splitlines()
    assert head.split() == ["checkpoint", "FID", "KID", "FID", "-", "best"]
    assert rows[0].split()[:1] == ["step1"]
    assert rows[1].split() == ["step2", "none", "none"]
    assert rows[2].endswith("best")
    assert "inconclusive" not in rows[3]
    assert rows[4].endswith("inconclusive")
    column = head.index("KID")
    assert [row[column : column + 3] for row in rows] == ["0.5", "non", "0.2", "0.3", "0.3"]


def test_points_of_numbers_are_in_line():
    rows = [
        ["head", "FID"],
        ["a", "9.5 +- 0.1"],
        ["b", "none"],
        ["c", "123.25"],
        ["d", "-3"],
        ["e", "1e-07"],
    ]
    assert align_columns(rows).splitlines() == [
        "head  FID",
        "a       9.5 +- 0.1",
        "b     none",
        "c     123.25",
        "d      -3",
        "e       1e-07",
    ]


def test_numbers_in_names_are_in_line_only_where_they_are_the_name():
    assert align_columns([["x"], ["9"], ["100"], ["3d"]]).splitlines() == ["x", "  9", "100", "3d"]


def test_wide_table_is_split_to_fit_a_terminal():
    metrics = {
        name: 0.123456 for name in ("kid", "precision", "recall", "density", "coverage", "mind")
    }
    entries = [make_entry(step, 10.0 * step, **metrics) for step in (1, 20, 300)]
    first, second = format_table(entries).split("\n\n")
    for part in (first, second):
        assert [line.split()[0] for line in part.splitlines()] == [
            "checkpoint",
            "step1",
            "step20",
            "step300",
        ]
        assert max(map(len, part.splitlines())) <= 80
    heads = [part.splitlines()[0] for part in (first, second)]
    for name in ("FID", "KID", "Precision", "Recall", "Density", "Coverage", "best"):
        assert sum(name in head for head in heads) >= 1


def test_endings_go_where_names_stay_apart_and_steps_where_names_say_them():
    entries = [make_entry(7, 1.0, name="ckpt_7.msgpack"), make_entry(8, 2.0, name="ckpt_8.msgpack")]
    assert format_table(entries).split()[0:2] == ["checkpoint", "FID"]
    assert list(short_names(entries).values()) == ["ckpt_7", "ckpt_8"]
    alike = [make_entry(7, 1.0, name="7.msgpack"), make_entry(7, 2.0, name="7.npz")]
    assert list(short_names(alike).values()) == ["7.msgpack", "7.npz"]
    unsaid = [make_entry(100_000, 1.0, name="step1e5")]
    assert format_table(unsaid).split()[0:2] == ["checkpoint", "step"]


def test_best_is_the_largest_where_more_is_better_and_never_what_is_no_number():
    entries = [
        make_entry(1, math.nan, precision=0.5),
        make_entry(2, 5.0, precision=math.inf),
        make_entry(3, 4.0, precision=0.9),
        make_entry(4, None, precision=0.9),
    ]
    assert [e.name for e in find_best(entries, "fid")] == ["step3"]
    assert [e.name for e in find_best(entries, "precision")] == ["step3", "step4"]
    assert find_best(entries, "kid") == []
    assert {gap.best for gap in compare_entries(entries).values()} == {"step3"}
    assert format_table(entries).splitlines()[1].split()[:2] == ["step1", "none"]


def test_error_of_zero_claims_no_certainty():
    assert describe_gap(Comparison("fid", "a", "b", 0.0, 0.0, False)) == "equal"
    assert describe_gap(Comparison("fid", "a", "b", 0.5, 0.0, True)) == "0.5"
    assert show_metric(MetricValue(0.0, stderr=0.0)) == "0"
    assert show_metric(None) == "none"


def test_names_that_cannot_be_printed_are_escaped():
    entries = [make_entry(1, 1.0, name="a\udcff\x1b[2J\n"), make_entry(2, 2.0, name="\u56fe")]
    for text in (format_table(entries), format_csv(entries)):
        assert r"a\udcff\x1b[2J\n" in text
        assert "\u56fe" in text
        text.encode()


def test_csv():
    rows = list(csv.DictReader(format_csv(ENTRIES).splitlines()))
    assert [row["checkpoint"] for row in rows] == [f"step{i}" for i in range(1, 6)]
    assert rows[1]["fid"] == ""
    assert rows[1]["failure"] == "NaN among images 0 to 7"
    assert [row["fid_conclusive"] for row in rows] == ["True", "", "", "True", "False"]
    assert float(rows[4]["fid_difference"]) == pytest.approx(0.1)
    assert rows[0]["kid_difference"] == ""
    assert {row["num_images"] for row in rows} == {"400", ""}


def test_json(tmp_path):
    run = RunFolder(tmp_path)
    run.begin({"seed": 3})
    for entry in ENTRIES:
        run.add(entry)
    found = json.loads(format_json(run))
    assert found["identity"] == {"seed": 3}
    assert [entry["name"] for entry in found["results"]] == [entry.name for entry in ENTRIES]
    assert [gap["other"] for gap in found["comparisons"]] == ["step4", "step5", "step1"]


def test_nothing_scored_yet():
    assert format_table([]) == "checkpoint"
    assert format_table([make_failure(1)]).splitlines()[1] == "step1"
    assert format_csv([]) == "checkpoint,step,num_images,failure\n"


def test_a_set_is_one_line_or_a_line_for_each_of_several_metrics():
    fid = MetricValue(12.7, 0.12, space="clean, 64")
    one = SetResult("a/", 80, {"fid": fid})
    assert (
        format_set(one, among=["a/", "long/"]) == "a/:    fid (clean, 64) 12.70 +- 0.12, 80 images"
    )
    several = SetResult(
        "a/", 80, {"fid": fid, "kid": MetricValue(-0.5), "recall": MetricValue(None)}
    )
    assert format_set(several) == (
        "a/: 80 images\n  fid (clean, 64)  12.70 +- 0.12\n  kid              -0.5\n  recall           none"
    )
