"""Numbers as scientists print them: the error's first two digits set the digits of the value."""

import math

_VALUE_DIGITS = 6
_ERROR_DIGITS = 2
_PLAIN_EXPONENTS = range(-5, 7)
"""Decimal exponents that are easy to read without a power of ten: 0.00001 to 9999999."""
_FLOAT_DIGITS = 15
"""Significant digits that every float64 holds. More would be noise."""


def format_value(value: float, stderr: float | None = None) -> str:
    """Returns the value with its error, as `14.55 +- 0.22`, or the value alone.

    Both end at the error's second significant digit, so that no digit is shown that the error makes
    meaningless. Very large and very small numbers share a power of ten: `(1.234 +- 0.022)e-07`.

    Args:
      value: The number. Without an error it has six significant digits.
      stderr: Its standard error, 0 or more. None, NaN and infinity: not known.
    """
    if stderr is None or not (math.isfinite(value) and math.isfinite(stderr)):
        return f"{value:.{_VALUE_DIGITS}g}"
    if stderr == 0:  # which sets no digit
        return f"{value:.{_VALUE_DIGITS}g} +- 0"
    largest = max(_exponent(value), _exponent(stderr))
    last = _exponent(stderr) - _ERROR_DIGITS + 1
    if largest - last >= _FLOAT_DIGITS:  # the error is below what the value's digits can show
        return f"{value:.{_FLOAT_DIGITS}g} +- {stderr:.{_ERROR_DIGITS}g}"
    if largest in _PLAIN_EXPONENTS:
        return f"{_fixed(value, -last)} +- {_fixed(stderr, -last)}"
    # Scaled in text, because a power such as 1e-320 has no accurate reciprocal.
    shifted = (_fixed(_scale(x, -largest), largest - last) for x in (value, stderr))
    return f"({' +- '.join(shifted)})e{largest:+03d}"


def format_bounds(low: float, high: float, stderr: float | None) -> str:
    """Returns an interval as `14.11 to 14.99`, with the digits that the standard error sets.

    Args:
      low: Its lower end.
      high: Its upper end.
      stderr: As in `format_value`, where it is 0 or not known: six significant digits.
    """
    plain = stderr is not None and _exponent(stderr) in _PLAIN_EXPONENTS
    if stderr is None or not plain or max(map(_exponent, (low, high))) not in _PLAIN_EXPONENTS:
        return f"{low:.{_VALUE_DIGITS}g} to {high:.{_VALUE_DIGITS}g}"
    decimals = _ERROR_DIGITS - 1 - _exponent(stderr)
    return f"{_fixed(low, decimals)} to {_fixed(high, decimals)}"


def _exponent(x: float) -> int:
    """Returns the decimal exponent after rounding to the error's digits: 0.0996 is 0.10, so -1."""
    return int(f"{x:.{_ERROR_DIGITS - 1}e}".split("e")[1]) if x else -(10**6)


def _fixed(x: float, decimals: int) -> str:
    """Returns x rounded to these decimals; negative ones round before the point. Zero has no sign."""
    return f"{round(x, decimals) + 0.0:.{max(decimals, 0)}f}"


def _scale(x: float, exponent: int) -> float:
    """Returns `x * 10**exponent` without a power that over- or underflows."""
    mantissa, own = f"{x:.17e}".split("e")
    return float(f"{mantissa}e{int(own) + exponent}")
