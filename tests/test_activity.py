"""What is said of the work under way: seconds that count on a terminal, lines elsewhere, nothing unasked."""

import io
import re
import sys
import time
import types

import pytest

from jaxfid import activity


class Screen(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal

    def wait_for(self, pattern):
        while not re.search(pattern, self.getvalue()):
            time.sleep(0.002)


@pytest.fixture(params=[True, False], ids=["terminal", "log"])
def screen(request, monkeypatch):
    stream = Screen(request.param)
    # Not `sys.stderr` itself, which pytest sets anew before the test.
    monkeypatch.setattr(activity, "sys", types.SimpleNamespace(stderr=stream, modules={}))
    monkeypatch.setattr(activity, "LINES_EVERY_S", 0.005)
    monkeypatch.setattr(activity, "_SECONDS_EVERY_S", 0.005)
    return stream


def test_what_takes_long_is_named_with_its_seconds(screen):
    with activity.doing("compiling", shown=True):
        screen.wait_for(r"jaxfid: compiling: \d+ s(?s:.*)jaxfid: compiling: \d+ s")
    said = screen.getvalue()
    if screen.isatty():
        assert "\n" not in said
        assert said.endswith("\r\033[K")  # the line is free again
    else:
        assert re.fullmatch(r"(jaxfid: compiling: \d+ s\n)+", said)


def test_nothing_is_said_unasked_or_of_what_is_short(screen, monkeypatch):
    with activity.doing("a", shown=False), activity.counting("b", 5, shown=False) as advance:
        advance(3)
        time.sleep(0.02)
    monkeypatch.setattr(activity, "LINES_EVERY_S", 60)
    monkeypatch.setattr(activity, "_SECONDS_EVERY_S", 60)
    with activity.doing("short", shown=True):
        pass
    assert screen.getvalue() == ""


def test_images_are_counted_with_their_speed_and_the_time_left(screen):
    with activity.counting("real/", 100, done=20, shown=True) as advance:
        advance(30)
        if not screen.isatty():
            screen.wait_for(r"jaxfid: real/: 50 of 100 images, \d+\.\d images/s, \d\d:\d\d left\n")


def test_a_log_is_told_that_no_image_is_done_yet(screen):
    if not screen.isatty():
        with activity.counting("real/", 100, shown=True):
            screen.wait_for(r"jaxfid: real/: 0 of 100 images, \d+ s\n")


def test_a_terminal_has_a_bar_with_the_speed():
    screen = Screen(True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        with activity.counting("real/", 100, done=20, shown=True) as advance:
            advance(80)
    assert re.search(r"real/: 100%.*100/100 \[.*images/s\]", screen.getvalue())
