"""Both of torch's formats, strides and all, against real torch; and files that mean harm."""

import copy
import hashlib
import json
import os
import pathlib
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.extractors.torch_checkpoint import TorchTensors
from jaxfid.extractors.weights_file import read_tensors
from tests.extractors.torch_files import (
    WRITERS,
    View,
    call,
    dict_of,
    integer,
    named,
    object_of,
    pickle_of,
    plain,
    text,
    tuple_of,
    write_sequential,
    write_zip,
)
from tests.shared_data import WEIGHTS, needs_shared


def read_torch_tensors(path):
    """What the file holds, as the reader of all formats gives it."""
    file = read_tensors(path)
    return TorchTensors(file.tensors, file.repeated)


FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "torch_pickles"

both_formats = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def small_views():
    numbers = np.arange(24, dtype=np.float32)
    return {
        "hwio": View(numbers, "1", (4, 3, 1, 2), (1, 4, 24, 12)),
        "slice": View(numbers, "1", (3,), (2,), offset=5),
        "count": plain(np.array(9, np.int64), "2"),
    }


@both_formats
def test_views_honour_offset_and_strides(tmp_path, write):
    tensors, repeated = read_torch_tensors(write(tmp_path / "file", small_views()))
    numbers = np.arange(24, dtype=np.float32)
    np.testing.assert_array_equal(
        tensors["hwio"], numbers.reshape(1, 2, 3, 4).transpose(3, 2, 0, 1)
    )
    np.testing.assert_array_equal(tensors["slice"], [5, 7, 9])
    assert tensors["count"].shape == () and tensors["count"].dtype == np.int64
    assert list(tensors) == ["hwio", "slice", "count"]
    assert repeated == ()
    assert not any(tensor.flags.writeable for tensor in tensors.values())


@both_formats
@pytest.mark.parametrize(
    ("shape", "strides"), [((1, 1), (2**62, 2**62)), ((0, 3), (2**62, 2**62)), ((1,), (2**200,))]
)
def test_strides_that_are_never_taken_may_be_any_number(tmp_path, write, shape, strides):
    views = {"a": View(np.arange(4, dtype=np.float32), "1", shape, strides, offset=2)}
    tensors, _ = read_torch_tensors(write(tmp_path / "file", views))
    np.testing.assert_array_equal(tensors["a"], np.full(shape, 2.0))


@both_formats
def test_an_empty_tensor_is_read(tmp_path, write):
    views = {"empty": plain(np.zeros((0, 3), np.float32), "1")}
    tensors, _ = read_torch_tensors(write(tmp_path / "file", views))
    assert tensors["empty"].shape == (0, 3)


@pytest.mark.parametrize("name", ["sequential", "zip"])
def test_files_of_real_torch_read_as_torch_reads_them(name):
    tensors, _ = read_torch_tensors(FIXTURES / f"{name}.pt")
    with np.load(FIXTURES / "expected.npz") as expected:
        assert set(tensors) == set(expected.files)
        for key in expected.files:
            assert tensors[key].dtype == expected[key].dtype
            np.testing.assert_array_equal(tensors[key], expected[key], strict=True)
    assert not tensors["0.weight"].flags.c_contiguous  # else the strides were never tried


@needs_shared
def test_the_shared_checkpoint_reads_as_torch_reads_it():
    expected = json.loads((FIXTURES / "checkpoint.json").read_text())
    tensors, _ = read_torch_tensors(WEIGHTS)
    digests = {
        name: hashlib.sha256(tensor.tobytes()).hexdigest() for name, tensor in tensors.items()
    }
    assert len(digests) == expected["count"] == 566
    combined = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    assert combined == expected["sha256_of_digests"]


@pytest.mark.oracle
@needs_shared
def test_every_tensor_equals_what_torch_loads():
    import torch

    expected = torch.load(WEIGHTS, weights_only=True)
    tensors, _ = read_torch_tensors(WEIGHTS)
    assert list(tensors) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(tensors[name], tensor.numpy(), strict=True)


@both_formats
def test_a_name_given_twice_is_told(tmp_path, write):
    view = small_views()["hwio"]
    body = dict_of((text("a"), view.pickled()), (text("a"), view.pickled()))
    assert read_torch_tensors(write(tmp_path / "file", {"a": view}, body=body)).repeated == ("a",)


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@both_formats
def test_code_is_refused_by_name_and_never_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    body = pickle.dumps({"a": _Evil()}, 2)[2:-1]
    with pytest.raises(InputError, match=r"file: .*global \w+\.mkdir, which is not allowed"):
        read_torch_tensors(write(tmp_path / "file", {}, body=body))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch", "BFloat16Storage"),
    ],
)
def test_other_globals_are_refused_by_name(tmp_path, module, name):
    body = dict_of((text("a"), call(named(module, name))))
    with pytest.raises(InputError, match=f"global {module}.{name}, which is not allowed"):
        read_torch_tensors(write_zip(tmp_path / "file", {}, body=body))


def hostile_view(**changes):
    view = {"storage": np.zeros(24, np.float32), "key": "1", "shape": (4, 6), "strides": (6, 1)}
    return View(**view | changes)


@both_formats
@pytest.mark.parametrize(
    "changes",
    [
        {"strides": (7, 1)},
        {"offset": 1},
        {"shape": (5, 6)},
        {"shape": (24,), "strides": (2,)},
        {"shape": (2**40, 2**40), "strides": (0, 0)},
        {"shape": (25,), "strides": (0,)},
        {"shape": (2**62,), "strides": (2**62,)},
        {"shape": (0,), "strides": (1,), "offset": 25},
        {"shape": (0, 2**40, 2**40), "strides": (0, 0, 0)},
        {"shape": (2**1000,), "strides": (1,)},
    ],
    ids=str,
)
def test_a_view_beyond_its_storage_is_refused(tmp_path, write, changes):
    path = write(tmp_path / "file", {"a": hostile_view(**changes)})
    with pytest.raises(InputError, match=r"storage 1 holds 24 numbers.*reads beyond"):
        read_torch_tensors(path)


@both_formats
@pytest.mark.parametrize(
    "changes",
    [
        {"strides": (-6, 1), "offset": 23},
        {"shape": (-4, 6)},
        {"strides": (1,)},
        {"shape": (1,) * 33, "strides": (1,) * 33},
    ],
    ids=str,
)
def test_a_view_that_is_none_is_refused(tmp_path, write, changes):
    with pytest.raises(InputError, match="storage 1: a tensor of no shape or strides"):
        read_torch_tensors(write(tmp_path / "file", {"a": hostile_view(**changes)}))


def test_a_negative_offset_is_refused(tmp_path):
    path = write_zip(tmp_path / "file", {"a": hostile_view(offset=-1)})
    with pytest.raises(InputError, match="not rebuilt from a storage, an offset"):
        read_torch_tensors(path)


def test_a_tensor_of_something_else_than_a_storage_is_refused(tmp_path):
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    for storage in (tuple_of(), named("torch", "FloatStorage")):
        one = tuple_of(integer(1))
        body = dict_of((text("a"), call(rebuild, storage, integer(0), one, one)))
        with pytest.raises(InputError, match="not rebuilt from a storage"):
            read_torch_tensors(write_zip(tmp_path / "file", {}, body=body))


def test_a_tensor_to_be_negated_or_conjugated_is_refused(tmp_path):
    negated = hostile_view().pickled(in_zip=True, more=dict_of((text("neg"), b"\x88")))
    path = write_zip(tmp_path / "file", {}, body=dict_of((text("a"), negated)))
    with pytest.raises(InputError, match="not rebuilt from a storage"):
        read_torch_tensors(path)


def test_a_persistent_id_that_is_no_storage_is_refused(tmp_path):
    body = dict_of((text("a"), tuple_of(text("module"), text("x")) + b"Q"))
    with pytest.raises(InputError, match="persistent id is no storage"):
        read_torch_tensors(write_zip(tmp_path / "file", {}, body=body))


@both_formats
@pytest.mark.parametrize("size", [23, 25, 2**61])
def test_a_storage_of_another_size_than_declared_is_refused(tmp_path, write, size):
    view = hostile_view(shape=(2,), strides=(1,), declared_size=size)
    with pytest.raises(InputError, match=r"file: (truncated: )?storage 1"):
        read_torch_tensors(write(tmp_path / "file", {"a": view}))


@both_formats
def test_a_missing_storage_is_refused(tmp_path, write):
    body = object_of(small_views())
    with pytest.raises(InputError, match=r"storage 1 is missing|list of storages does not agree"):
        read_torch_tensors(write(tmp_path / "file", {}, body=body))


def test_a_storage_declared_in_two_ways_is_refused(tmp_path):
    views = {"a": hostile_view(), "b": hostile_view(shape=(2,), strides=(1,), declared_size=2)}
    with pytest.raises(InputError, match="b: storage 1 is declared in two ways"):
        read_torch_tensors(write_sequential(tmp_path / "file", views))


@both_formats
def test_truncation_anywhere_is_an_input_error(tmp_path, write):
    path = write(tmp_path / "file", small_views())
    data = path.read_bytes()
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match="file: "):
            read_torch_tensors(path)


@both_formats
def test_a_flipped_byte_never_escapes_as_another_error(tmp_path, write):
    path = write(tmp_path / "file", small_views())
    data = path.read_bytes()
    for position in range(0, len(data), 11):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :])
        try:
            read_torch_tensors(path)
        except InputError:
            continue


@both_formats
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"]", "found a list"),
        (dict_of((text("epoch"), integer(3))), "'epoch': int"),
        (dict_of((text("state_dict"), b"}")), "'state_dict': dict"),
        (dict_of((integer(1), hostile_view().pickled())), "1: Tensor"),
    ],
)
def test_anything_but_a_dict_of_tensors_is_refused(tmp_path, write, body, found):
    with pytest.raises(InputError, match=f"expected a dict of tensors.*{found}"):
        read_torch_tensors(write(tmp_path / "file", {}, body=body))


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html><html>", pickle.dumps({"a": 1})])
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InputError, match=r"expected a checkpoint written by torch.save"):
        read_torch_tensors(tmp_path / "file")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="file: expected a weights file, found no file there"):
        read_torch_tensors(tmp_path / "file")


def test_another_protocol_is_refused(tmp_path):
    path = write_sequential(tmp_path / "file", small_views())
    path.write_bytes(path.read_bytes().replace(pickle_of(integer(1001)), pickle_of(integer(1002))))
    with pytest.raises(InputError, match="protocol 1001, found 1002"):
        read_torch_tensors(path)


def test_the_count_before_a_sequential_storage_is_compared(tmp_path):
    path = write_sequential(tmp_path / "file", {"a": hostile_view()})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<q", 24), struct.pack("<q", 20)))
    with pytest.raises(InputError, match="24 numbers declared, 20 found"):
        read_torch_tensors(path)


def test_a_big_endian_archive_is_refused(tmp_path):
    path = write_zip(tmp_path / "file", small_views(), byteorder=b"big")
    with pytest.raises(InputError, match="expected little-endian storages, found 'big'"):
        read_torch_tensors(path)


def test_a_flipped_number_in_an_archive_is_seen_by_its_checksum(tmp_path):
    path = write_zip(tmp_path / "file", small_views())
    numbers = np.arange(24, dtype=np.float32).tobytes()
    data = path.read_bytes()
    path.write_bytes(data.replace(numbers, b"\x01" + numbers[1:]))
    with pytest.raises(InputError, match="file: storage 1: corrupt, its checksum"):
        read_torch_tensors(path)


def script_of(*attributes):
    """A TorchScript module as its pickler writes it: a class of the archive, then its attributes."""
    return named("__torch__.network", "Module") + b")\x81" + dict_of(*attributes) + b"b"


def test_a_torchscript_archive_gives_its_parameters_by_dotted_path(tmp_path):
    views = small_views()
    inner = script_of(
        (text("weight"), views["hwio"].pickled(in_zip=True)),
        (text("training"), b"\x89"),
        (text("sizes"), call(named("torch.jit._pickle", "build_intlist"), b"]")),
        (text("names"), call(named("torch.jit._pickle", "restore_type_tag"), b"]", text("List"))),
    )
    outer = script_of((text("visual"), inner), (text("scale"), views["count"].pickled(in_zip=True)))
    code = {
        "constants.pkl": pickle_of(tuple_of()),
        "code/__torch__/network.py": b"raise SystemExit",
    }
    path = write_zip(tmp_path / "file", views, body=outer, **code)
    tensors, repeated = read_torch_tensors(path)
    assert list(tensors) == ["visual.weight", "scale"] and repeated == ()
    np.testing.assert_array_equal(tensors["visual.weight"][:, 0, 0, 0], [0, 1, 2, 3])


def test_modules_that_share_or_nest_without_end_are_refused(tmp_path):
    deep = script_of()
    for _ in range(100):
        deep = script_of((text("inner"), deep))
    with pytest.raises(InputError, match=r"file: expected a pickle of at most .* deep"):
        read_torch_tensors(write_zip(tmp_path / "file", {}, body=deep))
    itself = named("__torch__.network", "Module") + b")\x81q\x00" + dict_of((text("a"), b"h\x00"))
    with pytest.raises(InputError, match="file: expected a pickle of at most"):
        read_torch_tensors(write_zip(tmp_path / "file", {}, body=itself + b"b"))


def test_a_file_is_held_once_and_its_digest_is_of_the_same_bytes(tmp_path):
    path = write_zip(tmp_path / "file", {"a": plain(np.zeros(2**20, np.float32), "1")})
    tracemalloc.start()
    file = read_tensors(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.shares_memory(file.tensors["a"], np.frombuffer(file.data, np.uint8))
    assert peak_bytes < 1.2 * path.stat().st_size


def test_a_file_that_is_cut_while_it_is_used_does_no_harm(tmp_path):
    path = write_sequential(tmp_path / "file", {"a": plain(np.ones(2**14, np.float32), "1")})
    tensors, _ = read_torch_tensors(path)
    path.write_bytes(b"")
    assert tensors["a"].sum() == 2**14  # of a memory map, this is a SIGBUS


def test_a_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "file", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle_of(object_of(small_views())))
        archive.writestr("archive/data/1", bytes(2**20))
    with pytest.raises(InputError, match="compressed or encrypted"):
        read_torch_tensors(tmp_path / "file")


def test_an_archive_whose_members_overlap_is_refused(tmp_path):
    path = write_zip(tmp_path / "file", {"a": plain(np.zeros(2**16, np.float32), "1")})
    with zipfile.ZipFile(path, "a") as archive:
        again = copy.copy(archive.getinfo("archive/data/1"))
        again.filename = "archive/data/2"
        archive.filelist.append(again)
        archive.comment = b"so that the list of members is written anew"
    with pytest.raises(InputError, match="members that overlap"):
        read_torch_tensors(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_a_member_twice_is_refused(tmp_path):
    path = write_zip(tmp_path / "file", small_views())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/1", np.ones(24, np.float32).tobytes())
    with pytest.raises(InputError, match="no name twice"):
        read_torch_tensors(path)
