"""Tables of a comparison."""

import csv
import json

import pytest

from jaxfid.report.run_folder import RunFolder
from jaxfid.report.tables import format_csv, format_json, format_table
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
    assert head.split() == ["checkpoint", "step", "FID", "KID", "FID", "-", "best"]
    assert rows[0] == "step1       1     9 +- 0.094    0.5   5 +- 0.11"
    assert rows[1].split() == ["step2", "2", "none", "none"]
    assert rows[2].endswith("best")
    assert "inconclusive" not in rows[3]
    assert rows[4].endswith("inconclusive")
    column = head.index("KID")
    assert [row[column : column + 3] for row in rows] == ["0.5", "non", "0.2", "0.3", "0.3"]


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
    assert format_table([]) == "checkpoint  step"
    assert format_table([make_failure(1)]).splitlines()[1] == "step1       1"
    assert format_csv([]) == "checkpoint,step,num_images,failure\n"
