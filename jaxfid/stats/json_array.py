"""A JSON object kept as text in an array, as statistics and feature files hold their provenance."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxfid.errors import InputError
from jaxfid.storage.names import shorten

MAX_CHARACTERS = 1 << 18
"""Text of a provenance; ours has about 1000."""


def make_json_array(value: Mapping[str, Any], name: str) -> np.ndarray:
    """Returns the text as an array of no axes; the same object gives the same text.

    Raises:
      InputError: JSON cannot hold the value (NaN included), or its text is too long.
    """
    try:
        text = json.dumps(dict(value), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: expected what JSON can hold: {error}") from error
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"{name}: expected at most {MAX_CHARACTERS} characters of JSON, found {len(text)}"
        )
    return np.array(text)


def read_json_array(array: object, name: str) -> dict[str, Any]:
    """Returns the object whose text an array holds. It is data and proves nothing.

    Raises:
      InputError: It holds no text, too much of it, or no JSON object.
    """
    text = _as_text(array, name)
    if len(text) > MAX_CHARACTERS:  # parsed, it takes many times its text
        raise InputError(
            f"{name}: expected at most {MAX_CHARACTERS} characters of JSON, found {len(text)}"
        )
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: expected JSON, found: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected a JSON object, found {shorten(value)}")
    return value


def _as_text(array: object, name: str) -> str:
    if isinstance(array, str):  # of a pickle
        return array
    if not isinstance(array, np.ndarray) or array.dtype.kind != "U" or array.shape != ():
        raise InputError(f"{name}: expected text, found {shorten(array)}")
    try:
        return str(array)
    except ValueError as error:  # numbers that do not stand for characters
        raise InputError(f"{name}: expected text, found: {error}") from error


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant}, which is no number of JSON's")
