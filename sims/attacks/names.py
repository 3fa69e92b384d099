"""Attacks by name with settings, as text: `nes:smoothing_radius=0.1`.

A table says which names there are and what settings each has; besides its own an attack takes the settings that all
attacks of its table share.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


def parse(text: str, table: Mapping[str, Any], shared: Any) -> tuple[str, Any, Any]:
    """`name` or `name:setting=value,...` as (name, its settings, the shared settings).

    table: name -> what has the frozen dataclass `settings`. shared: defaults, a frozen dataclass too.
    Raises ValueError for an unknown name or setting, or a value of another type than the setting's default.
    """
    name, _, given = text.partition(":")
    if name not in table:
        raise ValueError(f"attack must be one of {', '.join(table)}, got {name!r}")
    own = table[name].settings()
    known = defaults(own) | defaults(shared)
    values = {}
    for part in given.split(",") if given else ():
        key, _, value = part.partition("=")
        if key not in known:
            raise ValueError(f"a setting of {name} must be one of {', '.join(known)}, got {key!r}")
        values[key] = _read(f"{name}:{key}", value, known[key])
    common = {key: values.pop(key) for key in defaults(shared) if key in values}
    try:
        return name, dataclasses.replace(own, **values), dataclasses.replace(shared, **common)
    except ValueError as error:
        raise ValueError(f"{name}:{error}") from error


def spelled(name: str, *settings: Any) -> str:
    """The text that `parse` reads as these settings; those at their defaults are left out."""
    given = [
        f"{key}={_written(getattr(part, key))}"
        for part in settings
        for key, default in defaults(type(part)()).items()
        if getattr(part, key) != default
    ]
    return f"{name}:{','.join(given)}" if given else name


def defaults(settings: Any) -> dict[str, Any]:
    """The settings by name."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(name: str, text: str, default: Any) -> Any:
    """The text as a value of the default's type."""
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return text == "true"
    try:
        return type(default)(text)
    except ValueError:
        kind = "an integer" if isinstance(default, int) else "a number"
        raise ValueError(f"{name} must be {kind}, got {text!r}") from None
