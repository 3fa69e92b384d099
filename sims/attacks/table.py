"""The table of attacks, one line each, and attacks by name with settings: `nes:smoothing_radius=0.1`.

Every attack takes the setting `average` besides its own: each answer is then the mean of that many fresh ones, which
are billed as rows (the attacker's averaging over a random defence, EOT).
"""

import dataclasses
from typing import Any, NamedTuple

from sims.attacks import names as spelling
from sims.attacks.attack import Attack, Method, Threat
from sims.attacks.decision import boundary, geoda, hop_skip_jump, rays, sign_opt
from sims.attacks.names import parse
from sims.attacks.score import (
    bandits,
    nes,
    null,
    rgf,
    sign_hunter,
    simba,
    simba_dct,
    spsa,
    square,
    zo_adam,
    zo_sgd,
    zo_sign_sgd,
)
from sims.ranges import check_counts

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


@dataclasses.dataclass(frozen=True)
class Shared:
    """What every query attack takes besides its own settings."""

    average: int = 1
    """Fresh answers that every answer is the mean of, billed as rows (EOT), >= 1."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_counts(self, average=1)


class Choice(NamedTuple):
    """An attack as it is run: its name, its settings, and over how many answers the attacker averages."""

    name: str
    settings: Any
    average: int = 1


def parse_attack(text: str) -> Choice:
    """`name` or `name:setting=value,...` as a choice; ValueError as `spelling.parse` raises it."""
    name, settings, shared = parse(text, ATTACKS, Shared())
    return Choice(name, settings, shared.average)


def spelled(choice: Choice) -> str:
    """The text that `parse_attack` reads as this choice; settings at their defaults are left out."""
    return spelling.spelled(choice.name, choice.settings, Shared(choice.average))


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
