"""The table of attacks, one line each, and attacks by name with settings: `nes:smoothing_radius=0.1`."""

import dataclasses
from typing import Any

from sims.attacks import nes, null, square
from sims.attacks.attack import Attack, Method, Threat

ATTACKS: dict[str, Method] = {
    "nes": nes.METHOD,
    "square": square.METHOD,
    "null": null.METHOD,
}


def parse_attack(text: str) -> tuple[str, Any]:
    """`name` or `name:setting=value,...` as the name and its settings.

    Raises ValueError for an unknown name or setting, or a value of another type than the setting's default.
    """
    name, _, given = text.partition(":")
    if name not in ATTACKS:
        raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {name!r}")
    defaults = ATTACKS[name].settings()
    known = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(defaults)}
    values = {}
    for part in given.split(",") if given else ():
        key, _, value = part.partition("=")
        if key not in known:
            raise ValueError(f"a setting of {name} must be one of {', '.join(known) or 'none'}, got {key!r}")
        values[key] = _read(f"{name}:{key}", value, known[key])
    return name, dataclasses.replace(defaults, **values)


def build_attack(text: str, threat: Threat) -> Attack:
    """The attack of that name and settings; ValueError names an unknown one, or a setting outside its range."""
    name, settings = parse_attack(text)
    method = ATTACKS[name]
    if threat.norm not in method.norms:
        raise ValueError(f"norm must be {' or '.join(method.norms)} for {name}, got {threat.norm!r}")
    return method.build(threat, settings)


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
