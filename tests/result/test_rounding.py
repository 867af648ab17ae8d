"""Numbers are printed to their error's second digit."""

import math
import re

import numpy as np
import pytest

from jaxfid.result.rounding import format_value

NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (14.5492, 0.2187, "14.55 +- 0.22"),
        (269.6149, 0.2551, "269.61 +- 0.26"),
        (0.00123456, 0.00045432, "0.00123 +- 0.00045"),
        (2.312345678, None, "2.31235"),
        (1.0, 0.0, "1 +- 0"),
        (0.1234, 0.0996, "0.12 +- 0.10"),  # an error that rounds up to the next power of ten
        (9.996, 0.0995, "10.00 +- 0.10"),
        (0.0, 0.31, "0.00 +- 0.31"),
        (-0.001, 0.31, "0.00 +- 0.31"),  # no sign on a zero
        (-14.5492, 0.2187, "-14.55 +- 0.22"),
        (0.5, 12.3, "0 +- 12"),
        (12345.6, 1234.5, "12300 +- 1200"),
        (1234567.0, 12.0, "1234567 +- 12"),
        (1.2345e9, 2.2e6, "(1.2345 +- 0.0022)e+09"),
        (1.234e-7, 2.2e-9, "(1.234 +- 0.022)e-07"),
        (1e-9, 2.2e-7, "(0.0 +- 2.2)e-07"),
        (1e300, 1e299, "(1.00 +- 0.10)e+300"),
        (2e-320, 1e-320, "(2.0 +- 1.0)e-320"),
        (14.5, 1e-17, "14.5 +- 1e-17"),
        (NAN, 0.1, "nan"),
        (INFINITY, 0.1, "inf"),
        (-INFINITY, None, "-inf"),
        (14.5492, NAN, "14.5492"),
        (14.5492, INFINITY, "14.5492"),
        (1e-30, None, "1e-30"),
    ],
)
def test_table(value, stderr, text):
    assert format_value(value, stderr) == text


def parse(text):
    match = re.fullmatch(r"\(?(\S+) \+- ([^)\s]+)\)?(e\S+)?", text)
    value, stderr, power = match.groups(default="")
    return float(value + power), float(stderr + power), value, stderr


def random_pairs():
    rng = np.random.default_rng(0)
    values = rng.normal(size=500) * 10.0 ** rng.uniform(-12, 12, 500)
    # From a hundred times the value down to a billionth of it.
    return zip(values, np.abs(values) * 10.0 ** rng.uniform(-9, 2, 500), strict=True)


def test_what_is_printed_is_off_by_less_than_the_error_matters():
    for value, stderr in random_pairs():
        printed, printed_stderr, *_ = parse(format_value(float(value), float(stderr)))
        # Half a unit of the second digit, of an error of 10 units and more; slack for float64.
        assert abs(printed - value) <= 0.0501 * stderr
        assert abs(printed_stderr - stderr) <= 0.0501 * stderr


def test_value_and_error_have_the_same_decimals_and_the_error_two_digits():
    for value, stderr in random_pairs():
        *_, value_text, stderr_text = parse(format_value(float(value), float(stderr)))
        decimals = [len(text.partition(".")[2]) for text in (value_text, stderr_text)]
        assert decimals[0] == decimals[1]
        digits = stderr_text.replace(".", "").lstrip("0")
        assert len(digits) == 2 or (decimals[0] == 0 and set(digits[2:]) <= {"0"})


def test_numpy_numbers_print_as_pythons_do():
    assert format_value(np.float64(14.5492), np.float64(0.2187)) == "14.55 +- 0.22"
