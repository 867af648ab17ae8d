"""The one reader of pickles. A pickle is read as data: nothing that it names is imported or run.

`pickle.Unpickler` with an allow-listing `find_class` is not enough: `BUILD` may set attributes on
whatever was found, and extension codes go round `find_class`. Here the standard library only
splits the bytes into opcodes, and what is not written below cannot happen.

Each reader of a format gives a list of the globals that may occur. What comes back is a tree of
bounded size and depth, however its parts are shared, so that it may be walked and shown.
"""

import dataclasses
import pickletools
from collections.abc import Callable, Mapping, Sequence
from typing import IO, NamedTuple, cast

from jaxfid.errors import InputError
from jaxfid.storage.names import shorten
from jaxfid.storage.streams import ByteReader

MAX_OPERATIONS = 200_000
"""Opcodes; a state dict has about 40 a tensor."""

MAX_DEPTH = 64
"""Containers inside each other; a TorchScript archive has two for each module in a module."""

MAX_ITEMS = 200_000
"""Leaves and containers, each as often as it is met on a walk."""

_MAX_LINE_BYTES = 1 << 16
_READS_PER_BYTE = 4
_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "INT", "LONG", "FLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "STRING"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING_TO_DO = frozenset({"PROTO", "FRAME", "STOP"})
_KEY_TYPES = (str, bytes, int, float, bool, type(None))
_TEXTS = (str, bytes, bytearray)
_MARK = object()
# What damage makes `pickletools` and the branches below raise; a warning of odd escapes in a text
# counts where the caller has made warnings errors.
_DAMAGE = (ValueError, TypeError, LookupError, OverflowError, MemoryError, Warning)


@dataclasses.dataclass(frozen=True)
class Constructor:
    """A function of ours that a pickle may call; nothing that is not wrapped in this is called."""

    function: Callable[..., object]


class Rebuilt:
    """Base of what a constructor makes and the pickle completes by a state, as NumPy's arrays are."""

    def set_state(self, state: object) -> None:
        """Takes the state; raises InputError or ValueError where it is none."""
        raise InputError(f"the pickle sets the state of {shorten(self)}, which is not allowed")

    def parts(self) -> Sequence[object]:
        """Returns what it holds of the pickle's objects: they count in the bounds on the tree."""
        return ()


class PickleContent(NamedTuple):
    """What a pickle holds.

    Attributes:
      value: The object.
      repeated_keys: Keys that some dict in it is given more than once; the last value stayed.
    """

    value: object
    repeated_keys: tuple


def read_pickle(
    stream: ByteReader,
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
      InputError: The pickle is damaged, too large, or asks for anything else. The message lacks the
        file's name, which the caller knows.
    """
    # `genops` calls the three methods that the class has.
    bounded = _BoundedStream(stream)
    machine = _Machine(allowed, load_persistent, bounded)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], bounded))):
            if count == MAX_OPERATIONS:
                raise InputError(f"expected a pickle of at most {count} operations, found more")
            machine.step(opcode.name, argument)
        (value,) = machine.stack
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"damaged or truncated pickle: {str(error)[:200]}") from error
    # Only now: while the pickle runs, its lists still grow.
    _check_tree(value)
    return PickleContent(value, tuple(machine.repeated_keys))


class _BoundedStream:
    """What `genops` reads from: never asks for more bytes than there are, nor for endless lines."""

    def __init__(self, stream: ByteReader) -> None:
        self._stream = stream
        # The size is the bound: a pickle is never longer than its file.
        position = stream.tell()
        self._left = stream.seek(0, 2) - position
        self.num_read = 0
        stream.seek(position)

    def read(self, num_bytes: int) -> bytes:
        """Returns at most these bytes; a length in a pickle may be any number."""
        return self._counted(self._stream.read(min(num_bytes, self._left)))

    def readline(self) -> bytes:
        """Returns at most one line of bounded length."""
        return self._counted(self._stream.readline(_MAX_LINE_BYTES))

    def tell(self) -> int:
        """Returns the position; `genops` asks for it at each opcode and nobody reads the answer."""
        return 0

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        self.num_read += len(data)
        return data


def _check_tree(value: object) -> None:
    """Walks the whole object once, with a stack of its own: recursion could overflow the C stack."""
    pending: list[tuple[object, int]] = [(value, 0)]
    count = 0
    while pending:
        item, depth = pending.pop()
        count += 1
        children = _children(item)
        # Parts that are shared count each time: 60 pairs of pairs are 2**60 leaves to a walker.
        if depth > MAX_DEPTH or count + len(pending) + len(children) > MAX_ITEMS:
            raise InputError(
                f"expected a pickle of at most {MAX_ITEMS} parts, {MAX_DEPTH} deep, found more"
            )
        pending += [(child, depth + 1) for child in children]


def _children(item: object) -> Sequence[object]:
    if isinstance(item, Rebuilt):
        return item.parts()
    if isinstance(item, list | tuple):
        return item
    return list(item.values()) if isinstance(item, dict) else ()


class _Machine:
    """The stack, the memo, and one branch per opcode that may occur."""

    def __init__(
        self,
        allowed: Mapping[str, object],
        load_persistent: Callable[[object], object] | None,
        stream: _BoundedStream,
    ) -> None:
        self.stack: list[object] = []
        self.repeated_keys: list[object] = []
        self._memo: dict[object, object] = {}
        self._allowed = allowed
        self._load_persistent = load_persistent
        self._stream = stream
        self._bytes_passed = 0

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
            case "LIST":
                push(self._pop_to_mark())
            case "DICT":
                items = self._pop_to_mark()
                push({})
                self._set_items(items)
            case "APPEND":
                self._extend([pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._set_items([pop(), pop()][::-1])
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self._memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                push(self._memo[argument])
            case "GLOBAL":
                push(self._find(str(argument).replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                # Popped values may be anything; only texts can name a global.
                global_name, module = pop(), pop()
                if type(global_name) is not str or type(module) is not str:
                    raise TypeError("the name of a global is no text")
                push(self._find(f"{module}.{global_name}"))
            case "REDUCE" | "NEWOBJ":
                # The second is for subclasses of dict. Both only call a Constructor.
                arguments, constructor = pop(), pop()
                push(self._call(constructor, arguments))
            case "BUILD":
                self._set_state(pop(), self.stack[-1])
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
        if type(target) is not list:  # ours are exact types: an object of ours has no `extend`
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
            # A state dict with a name twice is ambiguous: which value a tool takes is its choice.
            if key in target:
                self.repeated_keys.append(key)
            target[key] = value

    def _find(self, name: str) -> object:
        try:
            return self._allowed[name]
        except KeyError:
            message = f"the pickle names the global {name:.100}, which is not allowed"
            raise InputError(message) from None

    def _call(self, constructor: object, arguments: object) -> object:
        if not isinstance(constructor, Constructor):
            found = type(constructor).__name__
            raise InputError(f"the pickle calls a {found}, which is not allowed")
        if type(arguments) is not tuple:
            raise TypeError(f"a {type(arguments).__name__} as arguments of a call")
        # A text given to a thousand calls would be converted, and so held, a thousand times.
        self._bytes_passed += sum(len(text) for text in arguments if isinstance(text, _TEXTS))
        if self._bytes_passed > _READS_PER_BYTE * self._stream.num_read:
            raise InputError("the pickle passes the same bytes to call after call")
        return constructor.function(*arguments)

    def _set_state(self, state: object, target: object) -> None:
        """Completes an object of ours. Of a dict it is attributes (`_metadata`), which are dropped."""
        if isinstance(target, Rebuilt):
            target.set_state(state)
        elif type(target) is not dict:
            found = type(target).__name__
            raise InputError(f"the pickle sets the state of a {found}, which is not allowed")

    def _persistent(self, identifier: object) -> object:
        if self._load_persistent is None:
            raise InputError("the pickle refers to persistent objects, which is not allowed")
        return self._load_persistent(identifier)
