"""Reads a pickle as data: literals, containers and the constructors a caller names, nothing else.

`pickle.Unpickler` with an allow-listing `find_class` is not enough: `BUILD` may set attributes on
whatever was found, and extension codes go round `find_class`. Here the standard library only
splits the bytes into opcodes, and what is not written below cannot happen.
"""

import dataclasses
import pickletools
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple

from jaxfid.errors import InputError

_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING_TO_DO = frozenset({"PROTO", "FRAME", "STOP"})
_KEY_TYPES = (str, bytes, int, float, bool, type(None))
_MARK = object()


@dataclasses.dataclass(frozen=True)
class Constructor:
    """A function of ours that a pickle may call; nothing that is not wrapped in this is called."""

    function: Callable[..., object]


class PickleContent(NamedTuple):
    """What a pickle holds.

    Attributes:
      value: The object.
      repeated_keys: Keys that some dict in it is given more than once; the last value stayed.
    """

    value: object
    repeated_keys: tuple


def read_pickle(
    stream: BinaryIO,
    *,
    allowed: Mapping[str, object],
    load_persistent: Callable[[object], object] | None = None,
) -> PickleContent:
    """Returns the content of the pickle at the stream's position, which moves to its end.

    Args:
      stream: A file opened to read bytes, or a `BytesIO`.
      allowed: For each global (`"module.name"`) that may occur, what stands in its place: a
        `Constructor`, or a constant. Nothing is ever imported.
      load_persistent: Gives the object for a persistent id. Without it there may be none.

    Raises:
      InputError: The pickle is damaged, or asks for anything else. The message lacks the file's
        name, which the caller knows.
    """
    machine = _Machine(allowed, load_persistent)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
        (value,) = machine.stack
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        raise InputError(f"damaged or truncated pickle: {error}") from error
    return PickleContent(value, tuple(machine.repeated_keys))


class _Machine:
    """The stack, the memo, and one branch per opcode that may occur."""

    def __init__(
        self, allowed: Mapping[str, object], load_persistent: Callable[[object], object] | None
    ) -> None:
        self.stack: list[object] = []
        self.repeated_keys: list[object] = []
        self._memo: dict[object, object] = {}
        self._allowed = allowed
        self._load_persistent = load_persistent

    def step(self, name: str, argument: object) -> None:
        """Carries out one opcode that only pushes, or hands it on."""
        push, pop = self.stack.append, self.stack.pop
        if name in _LITERALS:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _EMPTY:
            push(_EMPTY[name]())
        elif name in _TUPLE_SIZES:
            push(tuple([pop() for _ in range(_TUPLE_SIZES[name])][::-1]))
        elif name in _NOTHING_TO_DO:
            return
        else:
            self._step_compound(name, argument)

    def _step_compound(self, name: str, argument: object) -> None:
        """Carries out one opcode that works on the stack; the table makes it long."""
        push, pop = self.stack.append, self.stack.pop
        match name:
            case "MARK":
                push(_MARK)
            case "TUPLE":
                push(tuple(self._pop_to_mark()))
            case "APPEND":
                self._extend([pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._set_items([pop(), pop()][::-1])
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self._memo[argument])
            case "GLOBAL":
                push(self._find(str(argument).replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                global_name, module = pop(), pop()
                push(self._find(f"{module}.{global_name}"))
            case "REDUCE":
                arguments, constructor = pop(), pop()
                push(self._call(constructor, arguments))
            case "BUILD":
                self._ignore_state(pop(), self.stack[-1])
            case "BINPERSID":
                push(self._persistent(pop()))
            case _:
                raise InputError(f"the pickle uses the opcode {name}, which is not allowed")

    def _pop_to_mark(self) -> list[object]:
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("no MARK on the stack")
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items

    def _extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError(f"cannot append to a {type(target).__name__}")
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise TypeError(f"cannot set items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A key that nests is never needed, and hashing one deep enough overflows the C stack.
            if not isinstance(key, _KEY_TYPES):
                raise TypeError(f"a {type(key).__name__} as key of a dict")
            if key in target:
                self.repeated_keys.append(key)
            target[key] = value

    def _find(self, name: str) -> object:
        if name not in self._allowed:
            raise InputError(f"the pickle names the global {name}, which is not allowed")
        return self._allowed[name]

    def _call(self, constructor: object, arguments: object) -> object:
        if not isinstance(constructor, Constructor):
            found = type(constructor).__name__
            raise InputError(f"the pickle calls a {found}, which is not allowed")
        if type(arguments) is not tuple:
            raise TypeError(f"a {type(arguments).__name__} as arguments of a call")
        return constructor.function(*arguments)

    def _ignore_state(self, state: object, target: object) -> None:
        """A state dict carries attributes (`_metadata`) beside its items; they are dropped."""
        if type(target) is not dict:
            found = type(target).__name__
            raise InputError(f"the pickle sets the state of a {found}, which is not allowed")

    def _persistent(self, identifier: object) -> object:
        if self._load_persistent is None:
            raise InputError("the pickle refers to persistent objects, which is not allowed")
        return self._load_persistent(identifier)
