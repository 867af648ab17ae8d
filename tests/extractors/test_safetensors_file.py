"""A safetensors file gives what the library gives, out of bytes that are held once."""

import json

import numpy as np
import pytest
import safetensors.numpy

from jaxfid.errors import InputError
from jaxfid.extractors.safetensors_file import parse_safetensors
from jaxfid.extractors.weights_file import read_tensors

RNG = np.random.default_rng(0)
TENSORS = {
    "matrix": RNG.normal(size=(3, 4)).astype(np.float32),
    "half": RNG.normal(size=5).astype(np.float16),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "truth": np.array([True, False]),
    "last": RNG.normal(size=(2, 2)),
}


def file_of(header, data=b""):
    """A file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_the_library_writes_comes_back(tmp_path):
    path = tmp_path / "file"  # the content decides, not a suffix
    safetensors.numpy.save_file(TENSORS, path, {"any": "metadata"})
    file = read_tensors(path)
    assert file.tensors.keys() == TENSORS.keys()
    for name, expected in safetensors.numpy.load_file(path).items():
        np.testing.assert_array_equal(file.tensors[name], expected, strict=True)
    assert np.shares_memory(file.tensors["matrix"], np.frombuffer(file.data, np.uint8))
    assert not file.tensors["matrix"].flags.writeable


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file_of({"a": entry("BF16", (4,))}, bytes(8)), "a: expected a type of .* found 'BF16'"),
        (file_of({"a": entry("F8_E4M3", (8,))}, bytes(8)), "found 'F8_E4M3'; convert"),
        (file_of({"a": entry("F4", (16,))}, bytes(8)), "found 'F4'"),
        (file_of({"a": entry(shape=(1,) * 100)}, bytes(8)), "a: expected at most 32 sides"),
        (file_of({"a": entry(shape=(-2, -1))}, bytes(8)), "from 0 up"),
        (file_of({"a": entry(shape=(True, 2))}, bytes(8)), "from 0 up"),
        (file_of({"a": entry(shape=(3,))}, bytes(8)), "a: its size does not fit"),
        (file_of({"a": entry(shape=(0, 2**40, 2**40), offsets=(0, 0))}), "a: its size does not fit"),
        (file_of({"a": entry()}, bytes(7)), "expected 8 bytes of numbers, found 7"),
        (file_of({"a": entry()}, bytes(9)), "expected 8 bytes of numbers, found 9"),
        (file_of({"a": entry(offsets=(1, 9))}, bytes(9)), "overlap or leave a gap"),
        (file_of({"a": entry(), "b": entry()}, bytes(8)), "overlap or leave a gap"),
        (file_of({"a": entry(offsets=(-8, 0))}, bytes(8)), "overlap or leave a gap"),
        (file_of({"a": {"dtype": "F32"}}), "no description of 'a'"),
        (file_of({"a": []}), "no description of 'a'"),
        (file_of({"a": entry() | {"data_offsets": ["0", "8"]}}, bytes(8)), "no description of 'a'"),
        (file_of(b'{"a":{},"a":{}}'), "a name twice"),
        (file_of(b"{"), "its header is no JSON"),
        (file_of(b"{" + b"[" * 100_000), "its header is no JSON"),
        (file_of(b"\xff{"), "its header is no JSON"),
        (file_of(b"[]"), "no JSON object"),
        ((2**62).to_bytes(8, "little") + b"{}", "ends beyond the file's 10 bytes"),
        (b"\x10", "ends beyond the file's 1 bytes"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        parse_safetensors(data)


def test_the_error_names_the_file(tmp_path):
    (tmp_path / "file").write_bytes(file_of({"a": entry("F4")}))
    with pytest.raises(InputError, match="file: a: expected a type"):
        read_tensors(tmp_path / "file")


def test_truncation_anywhere_is_an_input_error():
    data = safetensors.numpy.save(TENSORS)
    for size in range(9, len(data)):
        with pytest.raises(InputError):
            parse_safetensors(data[:size])
