"""CRC-32C, the checksum of TFRecord files, by NumPy: plain Python would take 10 ms for a photograph."""

import functools

import numpy as np
from jaxtyping import UInt32

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_LANE_BYTES = 32


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C of some bytes.

    A checksum is linear: the bytes are cut into lanes that are summed up side by side, and then two and
    two neighbours are joined until one is left.
    """
    if len(data) < 2 * _LANE_BYTES:
        return _crc32c_of_few(data)
    # The register before the first byte is all ones; put into the data, it may start at zero.
    lanes = _cut_into_lanes(bytes(byte ^ 0xFF for byte in data[:4]) + data[4:])
    table = _table()
    crc = np.zeros(len(lanes), np.uint32)
    for column in lanes.T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    level = 0
    while len(crc) > 1:
        crc = _shift(crc[0::2], level) ^ crc[1::2]
        level += 1
    return int(crc[0]) ^ 0xFFFFFFFF


def unmask_crc(masked: int) -> int:
    """Returns the checksum behind the masked one that TFRecord keeps."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def _crc32c_of_few(data: bytes) -> int:
    """The same byte by byte, which is faster for a few."""
    crc, table = 0xFFFFFFFF, _table_as_list()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table_as_list() -> list[int]:
    return _table().tolist()


def _cut_into_lanes(data: bytes) -> UInt32[np.ndarray, "lanes _"]:
    """Rows of equal length, a power of two of them; zeros in front change no sum that starts at zero."""
    num_lanes = 1 << max(-(-len(data) // _LANE_BYTES) - 1, 0).bit_length()
    padded = np.zeros(num_lanes * _LANE_BYTES, np.uint32)
    padded[len(padded) - len(data) :] = np.frombuffer(data, np.uint8)
    return padded.reshape(num_lanes, _LANE_BYTES)


@functools.cache
def _table() -> UInt32[np.ndarray, "256"]:
    """The sum of each byte."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = (crc >> 1) ^ np.where(crc & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return crc


def _shift(crc: UInt32[np.ndarray, " n"], level: int) -> UInt32[np.ndarray, " n"]:
    """Sums as they are after `2**level` lanes of zeros."""
    tables = _shift_tables(level)
    result = tables[0][crc & 0xFF]
    for place in (1, 2, 3):
        result = result ^ tables[place][(crc >> (8 * place)) & 0xFF]
    return result


@functools.cache
def _shift_tables(level: int) -> UInt32[np.ndarray, "4 256"]:
    """The same of each byte of a sum alone."""
    crc = (np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, None]).ravel()
    if level:
        for _ in range(2):  # twice as many lanes as the level below
            crc = _shift(crc, level - 1)
    else:
        for _ in range(_LANE_BYTES):
            crc = _table()[crc & 0xFF] ^ (crc >> 8)
    return crc.reshape(4, 256)
