"""Things by name with settings, as text: `nes:smoothing_radius=0.1`, `gaussian-noise:std=0.05`.

A table says which names there are and what settings each has. Text is read once, at the command line: what travels from
there is the choice, a row of the table with its settings checked.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec


@dataclasses.dataclass(frozen=True)
class Choice:
    """One row of a table with its settings.

    settings: frozen dataclass of the row's own settings. shared: of those that all rows of the table take, or None.
    row: what the table has under the name. Choices are equal when name and settings are.
    """

    name: str
    settings: Any
    shared: Any = None
    row: Any = dataclasses.field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """The text that `read` reads as this choice; settings at their defaults are left out."""
        parts = [self.settings] if self.shared is None else [self.settings, self.shared]
        given = [
            f"{key}={_written(getattr(part, key))}"
            for part in parts
            for key, default in defaults(type(part)()).items()
            if getattr(part, key) != default
        ]
        return f"{self.name}:{','.join(given)}" if given else self.name


def read(kind: str, text: str, table: Mapping[str, Any], shared: Any = None) -> Choice:
    """`name` or `name:setting=value,...` as a choice.

    kind: what the table holds, for messages. table: name -> what has the frozen dataclass `settings`. shared: defaults
    of the settings that all its rows take, a frozen dataclass too. Raises ValueError for an unknown name or setting, a
    value of another type than the setting's default, or one that the dataclass refuses.
    """
    name, _, given = text.partition(":")
    if name not in table:
        raise ValueError(f"{kind} must be one of {', '.join(table)}, got {name!r}")
    return with_settings(name, given, table[name], shared)


def with_settings(name: str, given: str, row: Any, shared: Any = None) -> Choice:
    """The row under that name with the settings `setting=value,...`; raises as `read` does."""
    own, common = defaults(row.settings()), {} if shared is None else defaults(shared)
    values = {}
    for part in given.split(",") if given else ():
        key, _, value = part.partition("=")
        known = own | common
        if key not in known:
            allowed = f"one of {', '.join(known)}" if known else "left out: there is none"
            raise ValueError(f"a setting of {name} must be {allowed}, got {key!r}")
        values[key] = _read(f"{name}:{key}", value, known[key])
    try:
        settings = row.settings(**{key: value for key, value in values.items() if key in own})
        taken = {key: value for key, value in values.items() if key in common}
        return Choice(name, settings, None if shared is None else dataclasses.replace(shared, **taken), row)
    except ValueError as error:
        raise ValueError(f"{name}:{error}") from error


def defaults(settings: Any) -> dict[str, Any]:
    """The settings by name."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def one(kind: type, read: Callable[[str], Any], metavar: str) -> PrimitiveConstructorSpec:
    """How the command line reads one such thing; `read` raises ValueError."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: read(words[0]),
        is_instance=lambda value: isinstance(value, kind),
        str_from_instance=lambda value: [str(value)],
    )


def several(kind: type, read: Callable[[str], Any], metavar: str) -> PrimitiveConstructorSpec:
    """How the command line reads a tuple of them."""
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{metavar} [{metavar} ...]",
        instance_from_str=lambda words: tuple(map(read, words)),
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(part, kind) for part in value),
        str_from_instance=lambda value: list(map(str, value)),
    )


def read_number(text: str) -> float:
    """`0.03`, `inf`, or a fraction as radii are written, `8/255`; ValueError for any other text."""
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"must be a number such as 0.03 or 8/255, got {text!r}") from None


NumberOption = Annotated[float, one(float, read_number, "FLOAT|N/M")]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(name: str, text: str, default: Any) -> Any:
    """The text as a value of the default's type."""
    if isinstance(default, str):
        return text
    if not isinstance(default, bool | int | float):
        raise ValueError(f"{name} must have a default that is a text, a number or a bool to be set, not {default!r}")
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return text == "true"
    try:
        return int(text) if isinstance(default, int) else read_number(text)
    except ValueError:
        kind = "an integer" if isinstance(default, int) else "a number"
        raise ValueError(f"{name} must be {kind}, got {text!r}") from None
