"""PNG files checked by the checksums that they carry, before Pillow sees them."""

import struct
import zlib

from jaxfid.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_LENGTH_AND_KIND = struct.Struct(">I4s")
_CRC = struct.Struct(">I")
# Pillow refuses a file with more than a fixed amount of these. None of them says what a pixel is here.
_REMARKS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"}


def check_png(data: bytes, key: str) -> bytes:
    """Returns a PNG file without its texts and colour profile, once all checksums are found to fit.

    Pillow looks neither at the checksums of the pixels nor at what follows them.

    Args:
      data: The whole file, which begins with the signature.
      key: What an error calls it.

    Raises:
      InputError: A checksum does not fit, or the file ends before its last chunk.
    """
    kept, start, offset = [], 0, len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        kind, end = _check_chunk(data, offset, key)
        if kind in _REMARKS:
            kept.append(data[start:offset])
            start = end
        offset = end
    return b"".join([*kept, data[start:offset]]) if kept else data


def _check_chunk(data: bytes, offset: int, key: str) -> tuple[bytes, int]:
    """Returns a chunk's kind, and where it ends."""
    body = offset + _LENGTH_AND_KIND.size
    if body > len(data):
        raise InputError(f"{key}: expected a whole image, found a PNG that is cut off")
    length, kind = _LENGTH_AND_KIND.unpack_from(data, offset)
    end = body + length + _CRC.size
    if end > len(data):
        raise InputError(f"{key}: expected a whole image, found a PNG that is cut off")
    # A view: bodies are large, and slices of bytes are copies.
    expected = zlib.crc32(memoryview(data)[offset + 4 : body + length])
    if _CRC.unpack_from(data, body + length)[0] != expected:
        raise InputError(
            f"{key}: expected a whole image, found a corrupt one: the checksum of its chunk "
            f"{kind.decode('latin-1')!r} does not fit"
        )
    return kind, end
