"""A folder or file has one holder, whose end lets go of it; what holds it is said."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from jaxfid.errors import InputError
from jaxfid.storage import locks
from jaxfid.storage.locks import lock


def start_holder(path):
    """A process that holds the lock until it is killed."""
    code = f"""
        import time
        from jaxfid.storage.locks import lock
        with lock({str(path)!r}, "a comparison"):
            print("held", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("name", ["folder", "new", "file"])
def test_the_second_one_is_refused_and_told_who_holds_it(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / name
    with lock(path, "a comparison"):
        message = rf"{name}: in use by a comparison \(process {os.getpid()} on .+\). Wait"
        with pytest.raises(InputError, match=message), lock(path, "another"):
            pass
    with lock(path, "another"):
        pass
    assert (tmp_path / "file").read_text() == ""


def test_a_killed_holder_lets_go(tmp_path):
    process = start_holder(tmp_path)
    with process:
        with pytest.raises(InputError, match=f"process {process.pid}"), lock(tmp_path, "another"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with lock(tmp_path, "another"):
        pass


def test_waiting_ends_when_the_holder_does(tmp_path, capsys):
    with start_holder(tmp_path) as process:
        killer = subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -9 {process.pid}"])
        with lock(tmp_path, "another", wait=True):
            assert process.wait() == -signal.SIGKILL
        killer.wait()
    assert "waiting for a comparison (process" in capsys.readouterr().err


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match="cannot be written"), lock(tmp_path, "a comparison"):
        pass
    assert not (tmp_path / "victim").exists()


def test_what_a_lock_file_says_is_shown_as_plain_text(tmp_path):
    with (
        lock(tmp_path, "a\x1b[31m\ncomparison" + "x" * 1000),
        pytest.raises(InputError) as error,
        lock(tmp_path, "another"),
    ):
        pass
    assert str(error.value).isprintable() and len(str(error.value)) < 700


def test_a_bucket_is_not_locked(tmp_path):
    path = f"memory:/{tmp_path}"
    with lock(path, "a comparison"), lock(path, "another"):
        pass


def test_where_nothing_can_lock_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.warns(UserWarning, match="cannot be locked"), lock(tmp_path, "a comparison"):
        pass


def test_a_file_system_without_locks_is_no_end(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="No locks available"), lock(tmp_path, "a comparison"):
        pass


def test_windows_locks_by_its_own_call(tmp_path, monkeypatch):
    calls = []

    class Windows:
        LK_LOCK, LK_NBLCK = 1, 2

        def locking(self, descriptor, mode, count):
            calls.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))
            if len(calls) == 2:
                raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", Windows())
    with (
        lock(tmp_path, "a comparison"),
        pytest.raises(InputError, match="in use by a comparison"),
        lock(tmp_path, "another"),
    ):
        pass
    assert calls == [(1 << 20, 2, 1)] * 2


def test_without_fcntl_the_module_is_imported_and_says_that_it_cannot_lock(tmp_path):
    code = f"""
        import sys
        sys.modules["fcntl"] = None
        from jaxfid.storage.locks import lock
        with lock({str(tmp_path)!r}, "a comparison"):
            print("done")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "done\n" and "cannot be locked" in done.stderr
