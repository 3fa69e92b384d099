"""Square with tactics against shown losses that were shaped to mislead a search, as those of DLD.

Besides candidates that lower the loss it takes some that don't: after a stall, one that raises the loss, since where
shown and true losses run in opposite directions a rising one is what is looked for; at random, to explore; and as
simulated annealing does (Kirkpatrick et al. 1983), the rarer the more the loss rises and the later it is.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from defenses.options.ranges import check_at_least, check_counts
from sims.attacks.attack import Attack, Threat
from sims.attacks.method import Method
from sims.attacks.score.square import Square, SquareState, square


@dataclass(frozen=True)
class SquareTactics:
    """Settings of Square with tactics."""

    initial_fraction: float = 0.8
    """Share of the image the first square covers, in (0, 1]."""
    patience: int = 10
    """Steps without a candidate that was taken, after which one that raises the loss is taken; 0: never."""
    explore: float = 0.02
    """Probability that any candidate is taken, in [0, 1]."""
    temperature: float = 0.0
    """Of the annealing, in units of the loss, >= 0; it falls to 0 along the budget."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_counts(self, patience=0)
        check_at_least(self, temperature=0)
        if not 0 <= self.explore <= 1:
            raise ValueError(f"explore must be in [0, 1], got {self.explore}")


class TacticsState(NamedTuple):
    """stalled: () steps since a candidate was taken. luck: raw data of the key from which chance decides."""

    square: SquareState
    stalled: Int[Array, ""]
    luck: UInt32[Array, "..."]


def square_tactics(threat: Threat, settings: SquareTactics) -> Attack:
    """Raises ValueError as `square` does."""
    base = square(threat, Square(settings.initial_fraction))

    def init(key, image, start):
        square_key, luck = jax.random.split(key)
        return TacticsState(base.init(square_key, image, start), jnp.array(0), jax.random.key_data(luck))

    def ask(key, state):
        return base.ask(key, state.square)

    def tell(state, queries, answers):
        before, value = state.square, answers.value[0]
        told = base.tell(before, queries, answers)
        lowered = (value < before.value) | answers.fooled[0]
        taken = lowered | _taken_all_the_same(state, value - before.value)
        moved = told._replace(
            image=jnp.where(taken, queries.images[0], told.image), value=jnp.where(taken, value, told.value)
        )
        return TacticsState(moved, jnp.where(taken, 0, state.stalled + 1), state.luck)

    def _taken_all_the_same(state, rise):
        coins = jax.random.uniform(jax.random.fold_in(jax.random.wrap_key_data(state.luck), state.square.step), (2,))
        left = 1 - state.square.step / threat.query_budget
        annealed = coins[1] < jnp.exp(-rise / (settings.temperature * left + 1e-12))
        opposite = (settings.patience > 0) & (state.stalled >= settings.patience) & (rise > 0)
        return opposite | (coins[0] < settings.explore) | ((settings.temperature > 0) & annealed)

    return base._replace(
        name=f"square-tactics-{threat.norm}", init=init, ask=ask, tell=tell, report=lambda s: base.report(s.square)
    )


METHOD = Method(
    SquareTactics,
    square_tactics,
    "loss",
    ("linf", "l2"),
    "1",
    "Square (Andriushchenko et al. 2020) with the tactics that DLD's authors name; their details are chosen here",
)
