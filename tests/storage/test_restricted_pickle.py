"""A pickle is data: what pickles honestly comes back, what asks for more is refused by name."""

import collections
import copyreg
import io
import os
import pickle

import pytest

from jaxfid.errors import InputError
from jaxfid.storage.restricted_pickle import Constructor, read_pickle
from tests.extractors.torch_files import call, dict_of, integer, named, pickle_of, text, tuple_of

ALLOWED = {"collections.OrderedDict": Constructor(lambda: {}), "a.constant": 7}


def read(data, **options):
    return read_pickle(io.BytesIO(data), allowed=ALLOWED, **options)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_literals_and_containers_come_back(protocol):
    shared = [1, 2]
    value = {
        "numbers": [0, -1, 255, 65536, 2**31, -(2**70), 1.5, float("inf")],
        "others": [None, True, False, "", "häß", "x" * 300],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((1,), [])],
        "shared": [shared, shared],
        7: {"nested": {}},
    }
    if protocol > 2:
        value["bytes"] = [b"", b"x" * 300]
    content = read(pickle.dumps(value, protocol))
    assert content.value == value
    assert content.value["shared"][0] is content.value["shared"][1]
    assert content.repeated_keys == ()


def test_an_ordered_dict_with_attributes_loses_only_those():
    state = collections.OrderedDict(a=1, b=2)
    state._metadata = {"": {"version": 1}}
    assert read(pickle.dumps(state, 2)).value == {"a": 1, "b": 2}


def test_several_pickles_in_a_stream_are_read_one_by_one():
    stream = io.BytesIO(pickle.dumps(1) + pickle.dumps([2]) + b"rest")
    assert read_pickle(stream, allowed={}).value == 1
    assert read_pickle(stream, allowed={}).value == [2]
    assert stream.read() == b"rest"


def test_repeated_keys_are_told():
    body = dict_of((text("a"), integer(1)), (text("b"), integer(2)), (text("a"), integer(3)))
    assert read(pickle_of(body)).repeated_keys == ("a",)


class _Reduced:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch executed",), "system"),
        (eval, ("open('executed', 'w')",), "builtins.eval|__builtin__.eval"),
        (getattr, ("", "join"), "builtins.getattr|__builtin__.getattr"),
        (collections.Counter, (), "collections.Counter"),
    ],
)
def test_a_call_of_anything_else_is_refused_by_name(
    tmp_path, monkeypatch, protocol, function, arguments, name
):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(_Reduced(function, *arguments), protocol)
    with pytest.raises(InputError, match=f"names the global [a-z_.]*({name}), which is not"):
        read(data)
    assert not list(tmp_path.iterdir())


def test_a_path_through_an_allowed_name_is_refused():
    body = text("collections") + text("OrderedDict.fromkeys") + b"\x93"
    with pytest.raises(InputError, match=r"collections\.OrderedDict\.fromkeys, which is not"):
        read(pickle_of(body))


def test_extension_codes_are_refused(monkeypatch):
    # The cache is what lets `pickle.Unpickler` go round its own `find_class`.
    monkeypatch.setitem(copyreg._extension_cache, 0x1234, os.getpid)
    data = pickle_of(call(b"\x83\x34\x12"))
    assert pickle.loads(data) == os.getpid()
    with pytest.raises(InputError, match="opcode EXT2"):
        read(data)


@pytest.mark.parametrize(
    ("opcode", "name"),
    [
        (b"i", "INST"),
        (b"o", "OBJ"),
        (b"\x81", "NEWOBJ"),
        (b"\x92", "NEWOBJ_EX"),
        (b"\x8f", "EMPTY_SET"),
    ],
)
def test_opcodes_that_make_objects_are_refused(opcode, name):
    with pytest.raises(InputError, match=f"opcode {name}.*not allowed"):
        read(b"\x80\x04(" + opcode + b"os\nsystem\n.")


def test_state_is_never_set_on_what_a_name_stands_for():
    body = named("collections", "OrderedDict") + dict_of((text("function"), integer(1))) + b"b"
    with pytest.raises(InputError, match="sets the state of a Constructor"):
        read(pickle_of(body))


@pytest.mark.parametrize("target", [named("a", "constant"), text("text"), b"N"])
def test_only_constructors_are_called(target):
    with pytest.raises(InputError, match=r"calls a (int|str|NoneType), which is not allowed"):
        read(pickle_of(call(target)))


def test_persistent_ids_need_a_reader():
    data = pickle_of(integer(3) + b"Q")
    with pytest.raises(InputError, match="persistent"):
        read(data)
    assert read(data, load_persistent=lambda number: number + 1).value == 4


@pytest.mark.parametrize(
    "body",
    [
        b"",  # nothing on the stack at STOP
        integer(1) + integer(2),  # two things
        b"t",  # TUPLE without MARK
        b"h\x05",  # a memo that was never put
        b"q\x05",  # a memo of nothing
        b"N" + integer(1) + b"a",  # append to None
        integer(1) + integer(1) + integer(1) + b"s",  # item of a number
        b"}(" + integer(1) + b"u",  # a key without a value
        dict_of((tuple_of(integer(1)), b"N")),  # a key that nests
        named("collections", "OrderedDict") + integer(1) + b"R",  # arguments that are no tuple
        call(named("collections", "OrderedDict"), integer(1)),  # wrong arguments
        b"\x8e" + (2**62).to_bytes(8, "little"),  # bytes beyond the end
        b"J\x00",  # truncated
    ],
)
def test_damage_is_an_input_error(body):
    with pytest.raises(InputError, match="damaged or truncated pickle"):
        read(pickle_of(body))


def test_nesting_and_memo_sizes_cost_nothing():
    deep = pickle_of(b"]" * 100_000 + b"a" * 99_999)
    assert len(read(deep).value) == 1
    assert read(pickle_of(b"Nr\xff\xff\xff\x7f")).value is None  # the C unpickler allocates 16 GB
