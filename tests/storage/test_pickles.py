"""A pickle is data: what pickles honestly comes back, what asks for more is refused by name."""

import collections
import copyreg
import io
import os
import pickle

import pytest

from jaxfid.errors import InputError
from jaxfid.storage import pickles
from jaxfid.storage.pickles import Constructor, Rebuilt, read_pickle
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


def test_a_new_object_of_what_is_no_constructor_is_refused():
    with pytest.raises(InputError, match="calls a int, which is not allowed"):
        read(pickle_of(named("a", "constant") + b")\x81"))
    body = named("collections", "OrderedDict") + b")\x81" + text("a") + integer(1) + b"s"
    assert read(pickle_of(body)).value == {"a": 1}  # as a subclass of dict is pickled


def test_memo_places_cost_nothing():
    assert read(pickle_of(b"Nr\xff\xff\xff\x7f")).value is None  # the C unpickler allocates 16 GB


@pytest.mark.parametrize(
    "deep", [b")" + b"\x85" * 2000, b"]" * 2000 + b"a" * 1999], ids=["tuples", "lists"]
)
def test_nesting_is_bounded(deep):
    with pytest.raises(InputError, match="64 deep, found more"):
        read(pickle_of(deep))
    with pytest.raises(InputError, match=r"64 deep, found more|as key of a dict"):
        read(pickle_of(b"}" + deep + integer(1) + b"s"))


def test_parts_that_multiply_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_ITEMS", 2000)
    pair = b"h\x00\x86q\x00"  # of what is on the stack and in place 0 of the memo, where it goes
    with pytest.raises(InputError, match="at most 2000 parts"):
        read(pickle_of(b")q\x00" + pair * 30))
    with pytest.raises(InputError, match="tuple as key of a dict"):
        read(pickle_of(b"})q\x00" + pair * 60 + integer(1) + b"s"))


def test_a_list_inside_itself_is_refused():
    with pytest.raises(InputError, match="64 deep"):
        read(pickle_of(b"]q\x00h\x00a"))


def test_operations_are_bounded(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPERATIONS", 50)
    with pytest.raises(InputError, match="at most 50 operations"):
        read(pickle.dumps(list(range(100))))


def test_bytes_passed_to_calls_are_bounded():
    held = []
    allowed = {"a.keep": Constructor(lambda data: held.append(data * 1))}
    once = named("a", "keep") + b"h\x00\x85R0"  # POP is no opcode of these pickles
    many = (
        text("x" * 10_000)
        + b"q\x00"
        + b"".join(named("a", "keep") + b"h\x00\x85R" for _ in range(100))
    )
    with pytest.raises(InputError, match="the same bytes to call after call"):
        read_pickle(io.BytesIO(pickle_of(many)), allowed=allowed)
    assert len(held) < 10
    with pytest.raises(InputError, match="opcode POP"):
        read_pickle(io.BytesIO(pickle_of(text("x") + b"q\x00" + once)), allowed=allowed)


def test_messages_show_little_of_what_a_pickle_holds():
    with pytest.raises(InputError) as error:
        read(pickle_of(named("m" * 10_000, "n")))
    assert len(str(error.value)) < 300


def test_a_state_completes_only_what_takes_one():
    class Kept(Rebuilt):
        state = None

        def set_state(self, state):
            self.state = state

    allowed = {"a.kept": Constructor(Kept), "a.plain": Constructor(Rebuilt)}
    body = call(named("a", "kept")) + integer(3) + b"b"
    assert read_pickle(io.BytesIO(pickle_of(body)), allowed=allowed).value.state == 3
    body = call(named("a", "plain")) + integer(3) + b"b"
    with pytest.raises(InputError, match="sets the state of a Rebuilt"):
        read_pickle(io.BytesIO(pickle_of(body)), allowed=allowed)


@pytest.mark.parametrize("protocol", [0, 1])
def test_text_protocols_are_read(protocol):
    value = {"a": [1, 2.5, "text", None], "b": (1, 2)}
    content = read(pickle.dumps(value, protocol))
    assert content.value == value
