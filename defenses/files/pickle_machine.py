"""A pickle machine for files of strangers: it builds containers, numbers and strings, and calls only stand-ins.

A pickle is a program. Python's own machine, however few globals it is given, can be made to fill the memory, to
overflow its stack or to run for ever by a few hundred bytes (far memo slots, nested tuples as keys), so this one has
the opcodes that checkpoints and data sets are written with and no other; its work and memory grow in proportion to the
pickle. The opcodes are documented in Python's `pickletools`.
"""

import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

Allowed = Mapping[tuple[str, str], Callable[..., object] | str]
States = Mapping[type, Callable[[Any, object], None]]
MAX_KEY_LENGTH = 1000


class Opaque:
    """What stands for an object of which nothing is read: it has no content, and a state of it is dropped."""

    __slots__ = ()


_OPAQUE = Opaque()


def opaque(*_: object) -> Opaque:
    """What stands in `allowed` for a class whose instances are to be `Opaque`: one for all, whatever is given."""
    return _OPAQUE


def load(
    stream: IO[bytes],
    allowed: Allowed,
    persistent: Callable[[object], object] | None = None,
    states: States | None = None,
) -> object:
    """The object of one pickle, with the globals of `allowed` replaced and every other one refused.

    stream: binary and seekable; it is read up to the end of the pickle.
    allowed: for (module, name), a function to call with the pickle's arguments, or a string that stands for the
        global. A function must be harmless for any arguments, raise nothing but ValueError and TypeError, and
        neither copy nor keep what it is given in a quantity that repeated calls could multiply.
    persistent: resolves persistent ids, under the same conditions; without it they are refused.
    states: for the exact type of what an allowed function made, a function (object, state) that gives it the state
        of the pickle, under the same conditions; nothing else has a state, but for dictionaries and `Opaque`, whose
        state (of an OrderedDict what it carries beside its items) is dropped.
    Dictionary keys are 64-bit integers and strings of at most `MAX_KEY_LENGTH` characters or bytes; byte strings of
    Python 2 come back as str, by Latin-1.
    Raises ValueError for a refused global or opcode, and for bytes that are no whole pickle.
    """
    machine = _Machine(allowed, persistent, {dict: _forget, Opaque: _forget, **(states or {})})
    try:
        for opcode, argument, _ in _opcodes(stream):
            if opcode.name not in _ACTIONS:
                raise ValueError(f"refuses the pickle opcode {opcode.name}: only tensors and plain containers are read")
            _ACTIONS[opcode.name](machine, argument)
        return machine.stack.pop()
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"holds a pickle that makes no sense ({type(error).__name__}: {error})") from error


def _opcodes(stream: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    try:
        yield from pickletools.genops(stream)
    except ValueError as error:
        raise ValueError(f"holds no whole pickle ({error})") from error


def _forget(_: object, state: object) -> None:
    pass


class _Global(NamedTuple):
    """What an allowed function looks like inside the pickle: a name, on which nothing can be looked up or set."""

    module: str
    name: str


@dataclass
class _Machine:
    """The stack with its marks, and the memo."""

    allowed: Allowed
    persistent: Callable[[object], object] | None
    states: States
    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def literal(self, value: object) -> None:
        self.stack.append(value)

    def global_by_names(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.find(f"{module} {name}" if type(module) is type(name) is str else "a global without a name")

    def find(self, names: str) -> None:
        """Push the global of "module name"."""
        module, _, name = names.partition(" ")
        if (module, name) not in self.allowed:
            raise ValueError(f"refuses {f'{module}.{name}':.80}: only tensors and plain containers are read")
        target = self.allowed[module, name]
        self.stack.append(target if isinstance(target, str) else _Global(module, name))

    def call(self, _: object) -> None:
        arguments, target = self.stack.pop(), self.stack.pop()
        if type(target) is not _Global or type(arguments) is not tuple:
            raise ValueError("holds a pickle that calls what is no function")
        function = self.allowed[target]
        assert not isinstance(function, str)
        self.stack.append(function(*arguments))

    def new(self, _: object) -> None:
        _, target = self.stack.pop(), self.stack.pop()
        if type(target) is not _Global or self.allowed[target] is not opaque:
            raise ValueError("refuses the pickle opcode NEWOBJ: only classes that are passed over have instances")
        self.stack.append(opaque())

    def build(self, _: object) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) not in self.states:
            raise ValueError("holds a pickle that gives a state to what has none")
        self.states[type(target)](target, state)

    def resolve(self, _: object) -> None:
        if self.persistent is None:
            raise ValueError("holds a pickle with a persistent id, where none is allowed")
        self.stack.append(self.persistent(self.stack.pop()))

    def mark(self, _: object) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[object]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> list[object]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def pack(self, items: list[object]) -> None:
        self.stack.append(tuple(items))

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("holds a pickle that appends to what is no list")
        target.extend(items)

    def update(self, items: list[object]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise ValueError("holds a pickle that sets items of what is no dictionary")
        if len(items) % 2:
            raise ValueError("holds a pickle with a key that has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value


def checked_key(key: object) -> str | bytes | int:
    """The key of a dictionary, cheap to hash and to compare; raises ValueError for one that `load` does not read."""
    if isinstance(key, str | bytes) and len(key) <= MAX_KEY_LENGTH:
        return key
    if type(key) is int and -(2**63) <= key < 2**63:
        return key
    raise ValueError(
        f"holds a dictionary with a key of type {type(key).__name__}: "
        f"only str, bytes (up to {MAX_KEY_LENGTH}) and 64-bit int are read"
    )


_LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_ACTIONS: dict[str, Callable] = {
    **dict.fromkeys(_LITERALS, _Machine.literal),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.pack(machine.since_mark()),
    "TUPLE1": lambda machine, _: machine.pack(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.pack(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.pack(machine.last(3)),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda machine, slot: machine.memo.update({slot: machine.stack[-1]})),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, slot: machine.stack.append(machine.memo[slot])),
    "GLOBAL": _Machine.find,
    "STACK_GLOBAL": _Machine.global_by_names,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.resolve,
}
