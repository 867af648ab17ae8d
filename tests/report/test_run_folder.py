"""A comparison's folder: what is in it is whole, whatever happened."""

import dataclasses
import json
import math
import os
import subprocess
import sys

import pytest

from jaxfid.errors import InputError
from jaxfid.report.entries import Picture, to_line
from jaxfid.report.run_folder import RunFolder
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
    folder.add(make_entry(1, 3.0))
    RunFolder(folder.path).begin(IDENTITY)
    with pytest.raises(
        InputError, match=r"number of images was 50, is 60; seed was 0, is 1\. Choose"
    ):
        RunFolder(folder.path).begin(IDENTITY | {"seed": 1, "number of images": 60})
    assert RunFolder(folder.path).identity == json.loads(json.dumps(IDENTITY))


def test_run_that_failed_before_its_first_score_leaves_the_folder_free(folder):
    folder.add(make_failure(1))
    again = RunFolder(folder.path)
    assert len(again.entries) == 1
    again.begin(IDENTITY | {"seed": 1})
    assert RunFolder(folder.path).entries == []
    assert RunFolder(folder.path).identity["seed"] == 1
    again.add(make_entry(1, 2.0))
    with pytest.raises(InputError, match="holds another comparison: seed was 1, is 0"):
        RunFolder(folder.path).begin(IDENTITY)


def test_failures_of_the_same_comparison_stay(folder):
    folder.add(make_failure(1))
    RunFolder(folder.path).begin(IDENTITY)
    assert len(RunFolder(folder.path).entries) == 1


def test_two_comparisons_in_one_folder_the_second_is_refused(folder):
    code = (
        "import sys; from jaxfid.report.run_folder import RunFolder\n"
        "with RunFolder.hold(sys.argv[1]): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as other:
        other.stdout.readline()
        with (
            pytest.raises(InputError, match=rf"run: in use by a comparison \(process {other.pid}"),
            RunFolder.hold(folder.path),
        ):
            pass
        RunFolder(folder.path)  # may be read all the while
        other.stdin.close()
    with RunFolder.hold(folder.path) as run:  # the other one has ended
        run.begin(IDENTITY)


def test_bucket():
    path = "memory://run-folder/run"
    with RunFolder.hold(path) as run:
        run.begin(IDENTITY)
        run.add(make_entry(1, 3.0))
        run.write("images/a/0.png", b"picture")
    again = RunFolder(path)
    assert [entry.name for entry in again.entries] == ["step1"]
    assert again.read_picture("a/0.png") == b"picture"
    with pytest.raises(
        InputError, match=r"memory://run-folder/run: holds another comparison: seed"
    ):
        again.begin(IDENTITY | {"seed": 1})


def test_what_all_scores_depend_on_is_kept(folder):
    about = Result({"name": "real"}, {"name": "clean"}, {"name": "w"}, {"platform": "cpu"}, ())
    folder.describe(about, [Picture("reference/0.png", 0)])
    again = RunFolder(folder.path)
    assert {k: v for k, v in again.provenance.items() if v} == {
        "reference": {"name": "real"},
        "protocol": {"name": "clean"},
        "weights": {"name": "w"},
        "environment": {"platform": "cpu"},
    }
    assert again.reference_pictures == [Picture("reference/0.png", 0)]
    again.begin(IDENTITY)
    assert RunFolder(folder.path).provenance == again.provenance


def test_provenance_of_the_first_edition_is_read(folder):
    (folder.path / "run.json").write_text('{"identity": {}, "about": {"weights": {"name": "w"}}}')
    assert RunFolder(folder.path).provenance == {"weights": {"name": "w"}}


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


def test_values_that_are_no_numbers_become_unknown(folder):
    folder.add(make_entry(1, math.nan, kid=math.inf))
    text = (folder.path / "results.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    metrics = RunFolder(folder.path).entries[0].scores.metrics
    assert (metrics["fid"].value, metrics["kid"].value) == (None, None)


def line(**changes):
    """A line of results whose fields are replaced; `scores.x` is one of the scores."""
    fields = json.loads(
        to_line(make_entry(1, 3.0, pictures={"first": [{"file": "a", "index": 0}]}))
    )
    for name, value in changes.items():
        *path, last = name.split("__")
        place = fields
        for part in path:
            place = place[part]
        place[last] = value
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "Expecting"),
        ("run.json", "[]", "a list where fields were expected"),
        ("run.json", '{"identity": 3}', "identity that is no object"),
        ("run.json", '{"reference_pictures": [3]}', "3 where fields were expected"),
        ("run.json", '{"reference_pictures": 3}', "not iterable"),
        ("results.jsonl", "{}\n", "'name': None, which is not of its type"),
        ("results.jsonl", '{"name": "1"\n', "Expecting"),
        ("results.jsonl", "[]\n", "a list where"),
        ("results.jsonl", line(name=7), "'name': 7, which"),
        ("results.jsonl", line(seconds=True), "'seconds'"),
        ("results.jsonl", line(step="7"), "'step': '7', which"),
        ("results.jsonl", line(pictures=[]) + "\n" + line(pictures=[1]), "'pictures': a list"),
        ("results.jsonl", line(pictures={"first": [[]]}), "a list where fields"),
        ("results.jsonl", line(scores=3), "'scores': 3"),
        ("results.jsonl", line(scores__metrics={"fid": 3.0}), "3.0 where fields"),
        ("results.jsonl", line(scores__metrics={"fid": {"value": "3"}}), "'value': '3', which"),
        ("results.jsonl", line(scores__metrics={"fid": {"value": 1.0, "more": 1}}), "another kind"),
        ("results.jsonl", line(scores__warnings=[3]), "a warning that is no text"),
        ("results.jsonl", line(scores__metrics__fid__influence="abc"), "padding"),
        ("results.jsonl", line().replace("3.0", "NaN"), "NaN, which is not a number"),
        ("results.jsonl", line().replace("3.0", "-Infinity"), "-Infinity, which is not a number"),
        ("results.jsonl", line().replace("3.0", "1e999"), "'1e999', which is not a number"),
        ("results.jsonl", line().replace("3.0", "1" * 5000), "which is not a number"),
        ("results.jsonl", '{"name": ' + "[" * 100_000, "nested too deeply"),
        ("results.jsonl", b'{"name": "\xff\xfe"}', "codec can't decode|utf-8"),
    ],
)
def test_damaged_file_is_named_with_its_line(folder, name, content, message):
    content = content if isinstance(content, bytes) else content.encode()
    (folder.path / name).write_bytes(content)
    place = "run\\.json" if name == "run.json" else r"results\.jsonl, line \d"
    with pytest.raises(
        InputError, match=f"{place}: expected what jaxfid compare wrote, found .*({message})"
    ):
        RunFolder(folder.path)


def test_two_entries_of_one_name_are_refused(folder):
    (folder.path / "results.jsonl").write_text(line() + "\n" + line() + "\n")
    with pytest.raises(InputError, match=r"results\.jsonl, line 2: a second entry of 'step1'"):
        RunFolder(folder.path)


@pytest.mark.parametrize(
    "file",
    ["/etc/passwd", "../x.png", "a/../../x.png", "", ".", "C:\\x.png", "c:x.png", "a\0b", "a\nb"],
)
def test_picture_elsewhere_is_refused(folder, file):
    for place in ("file", "nearest"):
        picture = {"file": "a/0.png", "index": 0, place: file}
        (folder.path / "results.jsonl").write_text(line(pictures={"first": [picture]}))
        with pytest.raises(InputError, match=r"line 1: .* which does not lie in the folder"):
            RunFolder(folder.path)


def test_link_to_elsewhere_is_not_followed(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder.path / "images").mkdir()
    (folder.path / "images/a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(
        InputError, match=r"a\.png: expected a picture in this folder, found a link"
    ):
        folder.read_picture("a.png")


def test_pipe_is_no_picture(folder):
    (folder.path / "images").mkdir()
    os.mkfifo(folder.path / "images/a.png")
    with pytest.raises(InputError, match=r"a\.png: expected a file, found a device, pipe"):
        folder.read_picture("a.png")
