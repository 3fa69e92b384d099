"""Pickles as data: a reader that runs nothing but the stand-ins it is given."""

import pickle
from collections.abc import Callable, Mapping
from typing import IO

Allowed = Mapping[tuple[str, str], Callable[..., object] | str]


class StandIn:
    """What a pickle gets for an allowed global: it can be called, never changed, subclassed or looked into.

    Written out because a frozen dataclass with slots brings a `__setstate__` that pickles reach.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]):
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise ValueError(f"the pickle refuses to set {name} of a global")

    def __call__(self, *arguments: object) -> object:
        """What the function makes of the arguments."""
        return self._function(*arguments)


def load(stream: IO[bytes], allowed: Allowed, persistent: Callable[[object], object] | None = None) -> object:
    """The object of one pickle, with the globals of `allowed` replaced and every other one refused.

    stream: binary, read up to the end of the pickle.
    allowed: for (module, name), a harmless function that is called with the pickle's arguments, or a string that
        stands for the global. What a function returns may be changed by the pickle: return inert records of your
        own, never an object whose `__setstate__` is not yours.
    persistent: resolves persistent ids; without it they are refused.
    Strings of Python 2 come back as str with one character a byte (Latin-1).
    Raises ValueError for a refused global, and for bytes that are no whole pickle of this kind.
    """
    reader = _Reader(stream, encoding="latin1")
    reader.allowed, reader.persistent = allowed, persistent
    try:
        return reader.load()
    except ValueError:
        raise
    except Exception as error:  # a forged pickle can make the machine that reads it fail in any way
        raise ValueError(f"no pickle that can be read ({type(error).__name__}: {error})") from error


class _Reader(pickle.Unpickler):
    allowed: Allowed
    persistent: Callable[[object], object] | None

    def find_class(self, module: str, name: str) -> object:
        """The stand-in of a global, or ValueError."""
        if (module, name) not in self.allowed:
            names = ", ".join(sorted(".".join(key) for key in self.allowed)) or "no globals"
            raise ValueError(f"the pickle refuses {module}.{name}: only {names} are allowed")
        target = self.allowed[module, name]
        return target if isinstance(target, str) else StandIn(target)

    def persistent_load(self, pid: object) -> object:
        """What a persistent id stands for, or ValueError."""
        if self.persistent is None:
            raise ValueError(f"the pickle refuses the persistent id {pid!r}: none is allowed")
        return self.persistent(pid)
