"""File names made from names that users chose, and values as messages show them."""

import re

from jaxfid.storage.digests import digest_text

_READABLE_CHARACTERS = 40
_SHOWN_BITS = 256


def slug(name: str) -> str:
    """Returns a file name for any text: its readable tail, and eight digits of its digest.

    Two names never share a slug (short of a collision of sha256), and every slug is safe on every
    file system: no separator, no leading dot, at most 49 characters.
    """
    # The tail: paths differ at their end, and their start is the same folder.
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-_READABLE_CHARACTERS:].strip("-.")
    return f"{readable}-{digest_text(name)[:8]}"


def shorten(value: object, limit: int = 80) -> str:
    """Returns a value as a message may show it, in bounded time and space whatever it holds."""
    # Cut before `repr`, which writes a byte as up to four characters.
    if isinstance(value, str | bytes | bytearray):
        shown = repr(value[:limit])
        return shown if len(value) <= limit else f"{shown}... ({len(value)} long)"
    # Python refuses to print an int of more than 4300 digits.
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"an int of {value.bit_length()} bits"
    if value is None or isinstance(value, int | float):
        return repr(value)
    # A container may share its parts: to print it can take for ever.
    return f"a {type(value).__name__}"
