"""When an image may leave: stopping rules for victims whose answers are random.

A candidate that fooled the victim once is put to a vote: it is queried again, one fresh draw of the defence at a
time, until the rule is decided. The votes are queries and are billed like all others. A candidate that loses is
dropped, and the attack goes on.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from defenses.options.names import one


@dataclass(frozen=True)
class StoppingRule:
    """draws: how often a candidate is queried again at most; needed: how often it has to fool the victim then.

    leaves: False where no image leaves before its budget is spent, whatever it fools.
    """

    draws: int
    needed: int
    leaves: bool = True

    def __str__(self) -> str:
        """As `stopping_rule` reads it."""
        if not self.leaves:
            return "whole-budget"
        return ("first-success", "re-evaluation")[self.draws] if self.draws < 2 else f"majority:{self.draws}"


class Votes(NamedTuple):
    """open: (slots,) bool, the candidate is voted on. for_it, against: (slots,) votes so far."""

    open: Bool[Array, " slots"]
    for_it: Int[Array, " slots"]
    against: Int[Array, " slots"]


FIRST_SUCCESS = StoppingRule(0, 0)
WHOLE_BUDGET = StoppingRule(0, 0, leaves=False)
MOST_VOTES = 1000


def stopping_rule(name: str) -> StoppingRule:
    """`first-success`; `re-evaluation`, fooled again in one more draw; `majority:N`, in more than half of N more.

    Raises ValueError for any other name.
    """
    if name == "first-success":
        return FIRST_SUCCESS
    if name == "re-evaluation":
        return StoppingRule(1, 1)
    kind, _, count = name.partition(":")
    if kind != "majority" or not count.isdecimal() or not 1 <= int(count) <= MOST_VOTES:
        rules = f"first-success, re-evaluation or majority:N (N in [1, {MOST_VOTES}])"
        raise ValueError(f"stopping must be {rules}, got {name!r}")
    return majority(int(count))


def majority(draws: int) -> StoppingRule:
    """Fooled in more than half of so many more draws."""
    return StoppingRule(draws, draws // 2 + 1)


def check_votes(evaluations: int) -> None:
    """Raise ValueError where so many evaluations are more than the votes that a query attack can be stopped by."""
    if evaluations > MOST_VOTES:
        raise ValueError(f"evaluations must be <= {MOST_VOTES}, the most votes of a query attack, got {evaluations}")


StoppingOption = Annotated[StoppingRule, one(StoppingRule, stopping_rule, "RULE")]


def no_votes(slots: int) -> Votes:
    """No candidate anywhere."""
    return Votes(jnp.zeros(slots, bool), jnp.zeros(slots, jnp.int32), jnp.zeros(slots, jnp.int32))


def cast(
    rule: StoppingRule,
    votes: Votes,
    candidate: Bool[Array, " slots"],
    answered: Bool[Array, " slots"],
    fooled: Bool[Array, " slots"],
) -> tuple[Votes, Bool[Array, " slots"]]:
    """Count the answers of open votes, open one for every new candidate; the votes, and who may leave.

    candidate: fooled the victim just now, outside a vote. answered, fooled: the answer to the last row asked.
    """
    if not rule.draws:
        return votes, candidate
    counted = votes.open & answered
    for_it = votes.for_it + (counted & fooled)
    against = votes.against + (counted & ~fooled)
    accepted = votes.open & (for_it >= rule.needed)
    rejected = votes.open & (against > rule.draws - rule.needed)
    open_now = (votes.open | candidate) & ~(accepted | rejected)
    return Votes(open_now, jnp.where(open_now, for_it, 0), jnp.where(open_now, against, 0)), accepted
