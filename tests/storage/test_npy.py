"""Arrays come back as they were written; a header is believed as far as the bytes that are there."""

import io
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.storage import npz
from jaxfid.storage.files import write_file
from jaxfid.storage.npy import read_npy, read_npy_header
from jaxfid.storage.npz import open_npz, read_npz

places = pytest.mark.parametrize("scheme", ["", "memory:/"], ids=["local", "memory"])
RNG = np.random.default_rng(0)
ARRAYS = {
    "float32": RNG.normal(size=(3, 4)).astype(np.float32),
    "big_endian": RNG.normal(size=(3, 4)).astype(">f8"),
    "fortran": np.asfortranarray(RNG.normal(size=(3, 4))),
    "uint8": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "text": np.array("häß"),
    "scalar": np.array(7),
    "empty": np.zeros((0, 3)),
    "truth": np.array([True, False]),
}


def npy_bytes(header, data=b"", version=1):
    """An `.npy` with any text as its header."""
    text = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def header_of(descr="'<f8'", order="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@places
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back(tmp_path, scheme, name):
    path = f"{scheme}{tmp_path}/a.npy"
    write_file(path, lambda file: np.save(file, ARRAYS[name]))
    np.testing.assert_array_equal(read_npy(path), ARRAYS[name], strict=True)


@places
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_by_name(tmp_path, scheme, save):
    path = f"{scheme}{tmp_path}/a.npz"
    write_file(path, lambda file: save(file, **ARRAYS))
    arrays = read_npz(path)
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    assert list(read_npz(path, {"text", "absent"})) == ["text"]
    with open_npz(path) as file:
        assert file.header("uint8")[:3] == ((2, 3, 4), np.dtype(np.uint8), False)


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_are_read_and_nothing_behind_the_header(version):
    data = npy_bytes(header_of(), bytes(16), version)
    stream = io.BytesIO(data)
    header = read_npy_header(stream, name="x", num_bytes=len(data))
    assert (header.shape, header.num_bytes) == ((2,), 16)
    assert stream.tell() == header.header_bytes == len(data) - 16


def test_a_header_that_python_2_wrote_is_read_without_a_warning(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy_bytes(header_of(shape="(2L,)"), bytes(16)))
    with warnings.catch_warnings(action="error"):
        assert read_npy(tmp_path / "a.npy").shape == (2,)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a NumPy array of format version 1 or 2, found b''"),
        (b"\x80\x04N.", "expected a NumPy array of format version"),
        (npy_bytes(header_of(), bytes(16), version=3), "format version 1 or 2"),
        (b"\x93NUMPY\x01\x00\x05", "only the start of a header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "at most 10000 bytes, found 4294967295"),
        (npy_bytes("(" * 9000), "expected a header of NumPy's"),
        (npy_bytes("{" + "[" * 200 + "]" * 200 + "}"), "expected a header of NumPy's"),
        (npy_bytes("\t\x00\\"), "expected a header of NumPy's"),
        (npy_bytes("[1]"), "expected a header of NumPy's"),
        (npy_bytes("{'descr': '<f8'}"), "expected a header of NumPy's"),
        (npy_bytes(header_of(shape="2")), "expected a shape"),
        (npy_bytes(header_of(shape="(-2, -8)")), "expected a shape"),
        (npy_bytes(header_of(shape="(True,)")), "expected a shape"),
        (npy_bytes(header_of(shape="(2.0,)")), "expected a shape"),
        (npy_bytes(header_of(shape="(" + "1," * 100 + ")")), "expected a shape"),
        (npy_bytes(header_of(order="1")), "expected a shape"),
        (npy_bytes(header_of(descr="'|O8'")), "plain array of numbers, found one of type"),
        (npy_bytes(header_of(descr="[('a', '<f8')]")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'<f8,<f8'")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'nonsense'")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'<f8,'")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'(,)f8'")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'<f3'")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'<U999999999'")), "plain array of numbers|cut off"),
        (npy_bytes(header_of(descr="'|S0'")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'|V0'")), "plain array of numbers"),
        (npy_bytes(header_of(descr="'<M8[s]'")), "plain array of numbers"),
        (npy_bytes(header_of(), bytes(15)), "expected 16 bytes .* found 15: cut off"),
        (npy_bytes(header_of(), bytes(17)), "expected 16 bytes .* found 17: cut off"),
        (npy_bytes(header_of(shape="(1000000000000, 8)")), "found 0: cut off"),
        (npy_bytes(header_of(shape=f"({10**20},)")), "expected a shape"),
        (npy_bytes(header_of(shape=f"(0, {2**40}, {2**40})")), "expected 0 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_array_is_refused_by_name(tmp_path, data, message):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"a\.npy: .*{message}"):
        read_npy(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(InputError, match=rf"a\.npz: x: .*{message}"):
        read_npz(tmp_path / "a.npz")


def test_an_array_of_objects_is_never_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}]))
    np.savez(tmp_path / "a.npz", x=np.array([{}]))
    with pytest.raises(InputError, match=r"a\.npy: .* numbers, found one of Python objects"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(InputError, match=r"a\.npz: x: .* numbers, found one of type"):
        read_npz(tmp_path / "a.npz")


def test_every_array_that_numpy_writes_has_a_header_that_is_read():
    for array in ARRAYS.values():
        stream = io.BytesIO()
        np.save(stream, array)
        num_bytes = stream.tell()
        stream.seek(0)
        version = np.lib.format.read_magic(stream)
        expected = np.lib.format.read_array_header_1_0(stream)
        stream.seek(0)
        found = read_npy_header(stream, name="x", num_bytes=num_bytes)
        assert version == (1, 0)
        assert (found.shape, found.fortran_order, found.dtype) == expected


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_anywhere_is_an_error_or_harmless(tmp_path, save):
    path = tmp_path / "a.npz"
    array = RNG.integers(0, 99, size=40).astype(np.float64)
    save(path, x=array)
    data = path.read_bytes()
    for position in range(0, len(data), 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        try:
            arrays = read_npz(path)
        except InputError as error:
            assert "a.npz" in str(error)
        else:  # a date, or the name
            np.testing.assert_array_equal(*arrays.values(), array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_file_is_refused(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, x=np.arange(100.0))
    data = path.read_bytes()
    for size in range(0, len(data), 11):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"a\.npz"):
            read_npz(path)


def forged_zip(name, packed, *, num_bytes, crc=0, method=8):
    """A zip of one member that says whatever it likes of itself."""
    sizes = (crc, len(packed), num_bytes, len(name), 0)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, method, 0, 33, *sizes) + name + packed
    central = struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, method, 0, 33, *sizes, 0, 0, 0, 0, 0
    )
    end = (1, 1, len(central) + len(name), len(local), 0)
    return local + central + name + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, *end)


def deflate(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def peak_of_refusal(path, message):
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        read_npz(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak_bytes


def test_a_member_that_says_it_is_empty_inflates_no_further(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(forged_zip(b"x.npy", deflate(bytes(1 << 25)), num_bytes=0))
    assert peak_of_refusal(path, r"a\.npz: x: ") < 1 << 21


def test_a_member_that_says_less_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    data = npy_bytes(header_of(), bytes(16))
    packed = deflate(data + bytes(1 << 25))
    path.write_bytes(forged_zip(b"x.npy", packed, num_bytes=len(data), crc=zlib.crc32(data)))
    read_npz(path)  # what it says is there, and its checksum fits
    path.write_bytes(forged_zip(b"x.npy", packed, num_bytes=len(data), crc=1))
    assert peak_of_refusal(path, "Bad CRC-32") < 1 << 21


def test_a_member_that_inflates_beyond_belief_is_refused_before_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "FREE_INFLATION_BYTES", 1 << 20)
    header = header_of(shape="(4194304,)")
    data = npy_bytes(header, bytes(1 << 25))
    packed = deflate(data)
    path = tmp_path / "a.npz"
    path.write_bytes(forged_zip(b"x.npy", packed, num_bytes=len(data), crc=zlib.crc32(data)))
    allowed = max(1 << 20, 64 * len(packed))
    assert peak_of_refusal(path, f"at most {allowed} bytes from {len(packed)} packed") < 1 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_other_compressions_are_refused(tmp_path, method):
    path = tmp_path / "a.npz"
    path.write_bytes(forged_zip(b"x.npy", b"packed", num_bytes=100, method=method))
    with pytest.raises(InputError, match=r"a\.npz"):
        read_npz(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"1")
        archive.writestr("x.npy", b"2")
    with pytest.raises(InputError, match="expected each array once"):
        read_npz(tmp_path / "a.npz")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"a\.npz: damaged or truncated zip archive"):
        read_npz(tmp_path / "a.npz")
