"""The table of attacks, one line each, and attacks by name with settings: `nes:smoothing_radius=0.1`.

Every attack takes the setting `average` besides its own: each answer is then the mean of that many fresh ones, which
are billed as rows (the attacker's averaging over a random defence, EOT).
"""

import dataclasses
from typing import Any, NamedTuple

from sims.attacks import (
    bandits,
    boundary,
    geoda,
    hop_skip_jump,
    nes,
    null,
    rays,
    rgf,
    sign_hunter,
    sign_opt,
    simba,
    simba_dct,
    spsa,
    square,
    zo_adam,
    zo_sgd,
    zo_sign_sgd,
)
from sims.attacks.attack import Attack, Method, Threat

ATTACKS: dict[str, Method] = {
    "nes": nes.METHOD,
    "spsa": spsa.METHOD,
    "rgf": rgf.METHOD,
    "zo-sgd": zo_sgd.METHOD,
    "zo-sign-sgd": zo_sign_sgd.METHOD,
    "zo-adam": zo_adam.METHOD,
    "bandits-td": bandits.METHOD,
    "sign-hunter": sign_hunter.METHOD,
    "simba": simba.METHOD,
    "simba-dct": simba_dct.METHOD,
    "square": square.METHOD,
    "boundary": boundary.METHOD,
    "hop-skip-jump": hop_skip_jump.METHOD,
    "geoda": geoda.METHOD,
    "sign-opt": sign_opt.METHOD,
    "rays": rays.METHOD,
    "null": null.METHOD,
}


class Choice(NamedTuple):
    """An attack as it is run: its name, its settings, and over how many answers the attacker averages."""

    name: str
    settings: Any
    average: int = 1


def parse_attack(text: str) -> Choice:
    """`name` or `name:setting=value,...` as a choice.

    Raises ValueError for an unknown name or setting, or a value of another type than the setting's default.
    """
    name, _, given = text.partition(":")
    if name not in ATTACKS:
        raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {name!r}")
    defaults = ATTACKS[name].settings()
    known = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(defaults)} | {"average": 1}
    values = {}
    for part in given.split(",") if given else ():
        key, _, value = part.partition("=")
        if key not in known:
            raise ValueError(f"a setting of {name} must be one of {', '.join(known)}, got {key!r}")
        values[key] = _read(f"{name}:{key}", value, known[key])
    average = values.pop("average", 1)
    if average < 1:
        raise ValueError(f"{name}:average must be >= 1, got {average}")
    return Choice(name, dataclasses.replace(defaults, **values), average)


def spelled(choice: Choice) -> str:
    """The text that `parse_attack` reads as this choice; settings at their defaults are left out."""
    defaults = ATTACKS[choice.name].settings()
    values = {field.name: getattr(choice.settings, field.name) for field in dataclasses.fields(defaults)}
    given = [f"{key}={_written(value)}" for key, value in values.items() if value != getattr(defaults, key)]
    given += [f"average={choice.average}"] if choice.average > 1 else []
    return f"{choice.name}:{','.join(given)}" if given else choice.name


def build_attack(text: str, threat: Threat) -> Attack:
    """The attack of that name and settings; ValueError names an unknown one, or a setting outside its range.

    Its name tells it from every other, settings and threat included. An attack with a schedule runs it over the answers
    that the budget buys.
    """
    choice = parse_attack(text)
    method = ATTACKS[choice.name]
    if threat.norm not in method.norms:
        raise ValueError(f"norm must be {' or '.join(method.norms)} for {choice.name}, got {threat.norm!r}")
    answers = max(threat.query_budget // choice.average, 1)
    attack = method.build(dataclasses.replace(threat, query_budget=answers), choice.settings)
    return attack._replace(name=f"{spelled(choice)}, {threat}")


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
