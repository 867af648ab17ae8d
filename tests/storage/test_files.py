"""Files are opened only where they are files, and written whole or not at all."""

import io
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import fsspec
import pytest

from jaxfid.errors import InputError
from jaxfid.storage import files, retries
from jaxfid.storage.faults import UnreachableError
from jaxfid.storage.files import (
    append_file,
    check_writable,
    move_file,
    open_file,
    read_file,
    stat_file,
    write_file,
)
from jaxfid.storage.paths import as_path

places = pytest.mark.parametrize("place", ["local", "memory"])


def place_of(tmp_path, place):
    return as_path(tmp_path if place == "local" else f"memory:/{tmp_path}")


@places
@pytest.mark.parametrize(
    "content", [b"data", "data", lambda file: file.write(b"data")], ids=["bytes", "text", "call"]
)
def test_what_is_written_is_read(tmp_path, place, content):
    path = place_of(tmp_path, place) / "made" / "file"
    write_file(path, content)
    assert read_file(path, max_bytes=4) == b"data"
    with open_file(str(path)) as file:
        assert (file.seek(1), file.read(2), file.tell()) == (1, b"at", 3)
    assert stat_file(path).num_bytes == 4
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    write_file(path, "ü")
    assert read_file(path, max_bytes=4) == b"\xc3\xbc"


@places
def test_a_file_larger_than_its_kind_may_be_is_refused(tmp_path, place):
    path = place_of(tmp_path, place) / "file"
    write_file(path, b"12345")
    with pytest.raises(InputError, match="file: expected at most 4 bytes"):
        read_file(path, max_bytes=4)


@places
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, place):
    path = place_of(tmp_path, place) / "file"
    write_file(path, "old")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="file: cannot be written: No space left on device"):
        write_file(path, fail)
    assert read_file(path, max_bytes=9) == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    code = f"""
        import os, signal
        from jaxfid.storage.files import write_file
        def die(file):
            file.write(b"half"); file.flush(); os.kill(os.getpid(), signal.SIGKILL)
        write_file({str(path)!r}, die)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("name"), replace(a, b))[1])
    write_file(tmp_path / "file", b"")
    assert events == ["sync", "name", "sync"]  # the last one of the folder


def test_the_temporary_name_is_new_and_no_link_is_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    monkeypatch.setattr(files, "_temporary_name", lambda: "guessed")
    (tmp_path / "guessed").symlink_to(victim)
    with pytest.raises(InputError, match="cannot be written: File exists"):
        write_file(tmp_path / "file", b"ours")
    assert victim.read_text() == "theirs"


def test_a_link_in_the_place_of_the_file_is_replaced(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    (tmp_path / "file").symlink_to(victim)
    write_file(tmp_path / "file", b"ours")
    assert (victim.read_text(), (tmp_path / "file").read_text()) == ("theirs", "ours")
    assert not (tmp_path / "file").is_symlink()


def test_a_new_file_has_the_rights_that_the_user_gives(tmp_path):
    old = os.umask(0o027)
    try:
        write_file(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_name_of_the_longest_length_can_be_written(tmp_path):
    write_file(tmp_path / ("x" * 255), b"")
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        write_file(tmp_path / ("x" * 256), b"")


@pytest.fixture
def odd_places(tmp_path):
    """What is there and no file."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["fifo", "zero", "folder"])
def test_only_regular_files_are_opened_or_replaced(odd_places, name):
    path = odd_places / name
    found = "found a folder" if name == "folder" else "found a device, pipe or socket"
    for call in (open_file, stat_file, lambda p: write_file(p, b""), check_writable):
        with pytest.raises(InputError, match=f"{name}: expected .*{found}"):
            call(path)
    assert path.exists() and not path.is_file()


def test_a_file_that_becomes_a_pipe_is_refused_at_opening(odd_places, monkeypatch):
    regular, path = pathlib.Path(__file__).stat(), as_path(odd_places / "fifo")
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda *_, **__: regular)
        with pytest.raises(InputError, match="found a device, pipe or socket"):
            open_file(path)


@places
def test_a_missing_file_is_named(tmp_path, place):
    path = place_of(tmp_path, place) / "absent"
    for call in (open_file, stat_file, lambda p: read_file(p, max_bytes=1)):
        with pytest.raises(InputError, match="absent: cannot be read"):
            call(path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "\udcff"])
def test_a_path_that_cannot_be_is_an_input_error(path):
    with pytest.raises(InputError, match="cannot be read"):
        open_file(path)


@places
def test_a_place_is_tried_before_the_work(tmp_path, place):
    path = place_of(tmp_path, place) / "made" / "file"
    check_writable(path)
    assert not path.exists()
    if place == "local":
        assert list(path.parent.iterdir()) == []
        with pytest.raises(InputError, match="cannot be written"):
            check_writable(pathlib.Path("/proc/nowhere/file"))


def test_what_a_store_raises_names_the_object(tmp_path, monkeypatch):
    path, tries = f"memory:/{tmp_path}/file", []

    class OddError(Exception):
        pass

    def refuse(*_, **__):
        tries.append(True)
        raise OddError("not today")

    store = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(store, "info", refuse)
    monkeypatch.setattr(store, "pipe_file", refuse)
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.001)
    for act in (lambda: open_file(path), lambda: write_file(path, b"")):
        tries.clear()
        with pytest.raises(
            UnreachableError, match=r"file: no answer after 6 tries in 0 s: not today"
        ):
            act()
        assert len(tries) == retries.TRIES


def test_a_store_with_real_folders_gets_them(tmp_path, monkeypatch):
    made = []
    store = type(fsspec.filesystem("memory"))
    pipe_file = store.pipe_file

    def pipe_into_folders(self, key, data, **_):
        if not made:
            raise FileNotFoundError(key)
        pipe_file(self, key, data)

    monkeypatch.setattr(store, "pipe_file", pipe_into_folders)
    monkeypatch.setattr(store, "makedirs", lambda self, path, **_: made.append(path))
    write_file(f"memory:/{tmp_path}/new/file", b"data")
    assert made == [f"{tmp_path}/new"]
    assert read_file(f"memory:/{tmp_path}/new/file", max_bytes=9) == b"data"


def test_an_object_is_never_put_in_part(tmp_path, monkeypatch):
    def fail(file):
        assert isinstance(file, io.BytesIO)
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(f"memory:/{tmp_path}/file", fail)
    assert not as_path(f"memory:/{tmp_path}/file").exists()


def test_a_file_grows_at_its_end_and_then_gets_its_name(tmp_path):
    for part in (b"one", b"two"):
        with append_file(tmp_path / "part") as file:
            file.write(part)
    move_file(tmp_path / "part", tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert read_file(tmp_path / "file", max_bytes=9) == b"onetwo"
    with pytest.raises(InputError, match="cannot be written"):
        move_file(tmp_path / "absent", tmp_path / "file")


def test_a_file_grows_only_where_it_is_one(odd_places):
    (odd_places / "link").symlink_to(odd_places / "victim")
    for name in ("fifo", "folder", "link"):
        with pytest.raises(InputError, match=name):
            append_file(odd_places / name)
    assert not (odd_places / "victim").exists()
