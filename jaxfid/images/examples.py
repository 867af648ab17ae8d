"""`tf.train.Example` messages, parsed without TensorFlow: names, and the first value of each."""

from collections.abc import Iterator, Mapping

from jaxfid.errors import InputError

# Wire types of protocol buffers: https://protobuf.dev/programming-guides/encoding
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
# Of `Feature`: a list of bytes, floats or ints.
_BYTES_LIST, _INT64_LIST = 1, 3

_Field = tuple[int, int | bytes]


def parse_example(data: bytes, name: str) -> Mapping[str, object]:
    """Returns each feature's first value by its name: bytes or an int, None for floats and nothing.

    Args:
      data: The message.
      name: What an error calls it.

    Raises:
      InputError: It is no such message.
    """
    try:
        features = b"".join(_messages(data, 1))
        entries = [dict(_fields(entry)) for entry in _messages(features, 1)]
        example = {_text(entry[1]): _first_value(_message(entry.get(2, b""))) for entry in entries}
    except (ValueError, LookupError) as error:
        raise InputError(
            f"{name}: expected an image or a tf.train.Example, found neither"
        ) from error
    if not example:
        raise InputError(f"{name}: expected an image or a tf.train.Example, found an empty record")
    return example


def _fields(data: bytes) -> Iterator[_Field]:
    """Gives number and value of each field; lengths are checked against what is there."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _read_varint(data, position)
            yield tag >> 3, value
            continue
        length = _FIXED_BYTES.get(kind, 0)
        if kind == _BYTES:
            length, position = _read_varint(data, position)
        elif not length:
            raise ValueError(f"a field of kind {kind}")
        if position + length > len(data):
            raise ValueError("a field beyond the end")
        yield tag >> 3, data[position : position + length]
        position += length


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for number in range(_MAX_VARINT_BYTES):
        byte = data[position + number]
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            return value, position + number + 1
    raise ValueError("a number without end")


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    return (_message(value) for number, value in _fields(data) if number == wanted)


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number instead of a message")
    return value


def _text(value: int | bytes) -> str:
    return _message(value).decode("utf-8")


def _first_value(feature: bytes) -> object:
    for number, values in _fields(feature):
        if number == _BYTES_LIST:
            return next(_messages(_message(values), 1), None)
        if number == _INT64_LIST:
            return _first_int(_message(values))
    return None


def _first_int(values: bytes) -> int | None:
    for number, value in _fields(values):
        if number == 1:
            found = value if isinstance(value, int) else _read_varint(value, 0)[0]
            return found - (1 << 64) if found >> 63 else found
    return None
