"""Any text gives a safe file name; any value can be shown."""

import pytest

from jaxfid.storage.names import shorten, slug


def test_a_slug_is_readable_and_of_one_name():
    assert slug("runs/cifar 10/fid") == "runs-cifar-10-fid-6e0b4ee3"
    assert slug("runs/cifar-10/fid") != slug("runs/cifar 10/fid")


@pytest.mark.parametrize("name", ["", "..", "/", "图", "a" * 500, "\udcff", "x\0y", "CON", "-rf"])
def test_a_slug_is_a_plain_file_name(name):
    made = slug(name)
    assert made.isascii() and len(made) <= 49 and not made.startswith(".")
    assert not set(made) & set('/\\:*?"<>|\0 ')


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "'text'"),
        ("x" * 1000, repr("x" * 80) + "... (1000 long)"),
        (b"\x00", "b'\\x00'"),
        (3, "3"),
        (None, "None"),
        (1.5, "1.5"),
        ([[1]], "a list"),
        ({"a": 1}, "a dict"),
    ],
)
def test_a_value_is_shown_in_bounded_space(value, shown):
    assert shorten(value) == shown


def test_an_int_too_long_to_print_is_shown_by_its_length():
    assert shorten(1 << 100_000) == "an int of 100001 bits"  # str() of it is an error
