"""A comparison's folder: what is in it is whole, whatever happened."""

import dataclasses
import json
import os

import pytest

from jaxfid.errors import InputError
from jaxfid.report.run_folder import Picture, RunFolder
from jaxfid.result import Result
from tests.report.entries import make_entry, make_failure

IDENTITY = {"seed": 0, "value range": (0, 1), "number of images": 50}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(IDENTITY)
    return folder


def test_entries_come_back_in_the_order_of_steps(folder):
    pictures = {"first": [{"file": "a/0.png", "index": 0}], "lowest": [
        {"file": "a/3.png", "index": 3, "realism": 0.5, "nearest": "reference/7.png"}
    ]}  # fmt: skip
    entries = [
        make_entry(20, 3.0, pictures=pictures),
        make_failure(3),
        make_entry(100, 2.0, kid=0.1),
    ]
    for entry in entries:
        folder.add(entry)
    again = RunFolder(folder.path)
    assert [entry.step for entry in again.entries] == [3, 20, 100]
    found = again.entries[1]
    assert found.pictures["lowest"] == [Picture("a/3.png", 3, 0.5, "reference/7.png")]
    assert found.scores.metrics["fid"].value == 3.0
    assert again.entries[2].scores.metrics["kid"].value == 0.1
    assert again.entries[0].failure == "NaN among images 0 to 7"
    assert len((folder.path / "results.jsonl").read_text().splitlines()) == 3


def test_steps_come_before_names_without_one(folder):
    for name, step in (("last", None), ("best", None), ("10", 10), ("9", 9)):
        folder.add(dataclasses.replace(make_entry(1, 2.0, name=name), step=step))
    assert [entry.name for entry in folder.entries] == ["9", "10", "best", "last"]


def test_entry_of_the_same_name_takes_the_place_of_the_first(folder):
    folder.add(make_entry(1, 3.0))
    folder.add(make_entry(1, 2.0))
    (entry,) = RunFolder(folder.path).entries
    assert entry.scores.metrics["fid"].value == 2.0


def test_finished_is_what_has_scores_and_did_not_change(folder):
    folder.add(make_entry(1, 3.0))
    folder.add(make_failure(2))
    assert folder.is_finished("step1", "stamp 1")
    assert not folder.is_finished("step1", "stamp 2")
    assert not folder.is_finished("step2", "stamp")
    assert not folder.is_finished("step3", "stamp 3")


def test_same_run_goes_on_and_another_is_refused(folder):
    RunFolder(folder.path).begin(IDENTITY)
    with pytest.raises(
        InputError, match=r"number of images was 50, is 60; seed was 0, is 1\. Choose"
    ):
        RunFolder(folder.path).begin(IDENTITY | {"seed": 1, "number of images": 60})
    assert RunFolder(folder.path).identity == json.loads(json.dumps(IDENTITY))


def test_what_all_scores_depend_on_is_kept(folder):
    about = Result({"name": "real"}, {"name": "clean"}, {"name": "w"}, {"platform": "cpu"}, ())
    folder.describe(about, [Picture("reference/0.png", 0)])
    again = RunFolder(folder.path)
    assert again.about == {
        "reference": {"name": "real"},
        "protocol": {"name": "clean"},
        "weights": {"name": "w"},
        "environment": {"platform": "cpu"},
    }
    assert again.reference_pictures == [Picture("reference/0.png", 0)]
    again.begin(IDENTITY)
    assert RunFolder(folder.path).about == again.about


def test_file_is_as_it_was_when_its_writer_is_stopped(folder, monkeypatch):
    folder.add(make_entry(1, 3.0))
    before = (folder.path / "results.jsonl").read_text()

    def stop(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        folder.add(make_entry(2, 2.0))
    assert (folder.path / "results.jsonl").read_text() == before


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"run\.json: cannot be written: "):
        RunFolder(tmp_path / "file" / "run").begin(IDENTITY)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", "{"),
        ("results.jsonl", "{}\n"),
        ("results.jsonl", '{"name": "1"\n'),
        ("results.jsonl", "[]\n"),
    ],
)
def test_file_of_something_else_is_named(folder, name, content):
    (folder.path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}: expected what jaxfid compare wrote, found"):
        RunFolder(folder.path)
