"""The table of attacks, one line each, and attacks by name with settings: `nes:smoothing_radius=0.1`.

Every attack takes the setting `average` besides its own: each answer is then the mean of that many fresh ones, which
are billed as rows (the attacker's averaging over a random defence, EOT).
"""

import dataclasses
import functools
from typing import Annotated

from defenses.options.names import Choice, read, several
from defenses.options.ranges import check_counts
from sims.attacks.attack import Attack, Threat
from sims.attacks.decision import boundary, geoda, hop_skip_jump, rays, sign_opt
from sims.attacks.method import Method
from sims.attacks.score import (
    bandits,
    identify,
    nes,
    null,
    rgf,
    sign_hunter,
    simba,
    simba_dct,
    spsa,
    square,
    square_tactics,
    zo_adam,
    zo_sgd,
    zo_sign_sgd,
)

ATTACKS: dict[str, Method] = {
    "nes": nes.METHOD,
    "identify": identify.METHOD,
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
    "square-tactics": square_tactics.METHOD,
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


def read_attack(text: str) -> Choice:
    """`name` or `name:setting=value,...` as a choice; ValueError as `names.read` raises it."""
    return read("attack", text, ATTACKS, Shared())


def attack_choices(*texts: str) -> tuple[Choice, ...]:
    """Several of them, as a default of an option."""
    return tuple(map(read_attack, texts))


AttackOptions = Annotated[tuple[Choice, ...], several(Choice, read_attack, "ATTACK")]


@functools.lru_cache
def build_attack(choice: Choice, threat: Threat) -> Attack:
    """The query attack that was chosen; the same one for the same choice, so that it is compiled once.

    Its name tells it from every other, settings and threat included. An attack with a schedule runs it over the answers
    that the budget buys. Raises ValueError for a norm that it does not have, a radius it cannot use, or a budget that
    ends within its first step.
    """
    method = choice.row
    if threat.norm not in method.norms:
        raise ValueError(f"norm must be {' or '.join(method.norms)} for {choice.name}, got {threat.norm!r}")
    answers = max(threat.query_budget // choice.shared.average, 1)
    attack = method.build(dataclasses.replace(threat, query_budget=answers), choice.settings)
    step = attack.width * choice.shared.average
    if step > 1 and threat.query_budget <= step:
        raise ValueError(f"query_budget must be > {step}, one step of {choice}, got {threat.query_budget}")
    return attack._replace(name=f"{choice}, {threat}")
