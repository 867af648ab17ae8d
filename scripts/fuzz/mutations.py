"""Damages bytes as a broken disk, a careless tool or an attacker would, from a seed."""

import random
from collections.abc import Callable

_HEAD_BYTES = 256
_INTERESTING = (
    *(b"\x00", b"\xff", b"\x80", b"\x7f", b"-", b"(", b"[", b"{", b"'", b"\\", b"L", b"9" * 20),
    *(bytes(8), b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"),
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Returns the bytes with one to four faults; half of them lie where headers are."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(_FAULTS)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    end = min(len(data), _HEAD_BYTES) if rng.random() < 0.5 else len(data)
    return rng.randint(0, max(end - 1, 0))


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return (
        data[:at]
        + bytes(byte ^ (1 << rng.randint(0, 7)) for byte in data[at : at + 1])
        + data[at + 1 :]
    )


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at, piece = _place(data, rng), rng.choice(_INTERESTING)
    return data[:at] + piece + data[at + len(piece) :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.choice(_INTERESTING) * rng.choice((1, 1, 2, 50)) + data[at:]


def _delete(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 64)) :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _copy(data: bytes, rng: random.Random) -> bytes:
    """A piece of the file again elsewhere: offsets, sizes and opcodes in the wrong place."""
    source, target, size = _place(data, rng), _place(data, rng), rng.choice((1, 4, 8, 32, 128))
    return data[:target] + data[source : source + size] + data[target:]


def _number(data: bytes, rng: random.Random) -> bytes:
    """One digit of a header's text, or one byte of a size, becomes another number."""
    at = _place(data, rng)
    if data[at : at + 1].isdigit():
        return data[:at] + rng.choice((b"0", b"9", b"-1", b"1e9", b"99999999999")) + data[at + 1 :]
    return data[:at] + bytes([rng.randint(0, 255)]) + data[at + 1 :]


_FAULTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _overwrite, _insert, _delete, _cut, _copy, _number),
)
