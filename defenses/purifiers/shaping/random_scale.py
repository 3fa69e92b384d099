"""RLS: every answer's scores multiplied by a random number; the decision, and so every decision attack, sees nothing.

Source: random logit scaling, recalled and not read again: the range is a setting.
"""

from dataclasses import dataclass

import jax

from defenses.model import Model, keys_behind
from defenses.options.ranges import check_positive
from defenses.purifiers.method import Method


@dataclass(frozen=True)
class RandomScale:
    """Settings of the factor."""

    smallest: float = 0.5
    """Smallest factor, > 0."""
    largest: float = 2.0
    """Largest factor, at least the smallest."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_positive(self, "smallest", "largest")
        if self.largest < self.smallest:
            raise ValueError(f"largest must be >= smallest = {self.smallest:g}, got {self.largest:g}")


SCALE_STREAM = 0x515  # apart from what the model behind draws from the same keys


def random_scale(model: Model, settings: RandomScale) -> Model:
    """The model whose scores are multiplied by a factor uniform between the two, fresh for every row."""

    def factor(key):
        return jax.random.uniform(jax.random.fold_in(key, SCALE_STREAM), (), minval=low, maxval=high)

    def scores(params, keys, images):
        return jax.vmap(factor)(keys)[:, None] * model.scores(params, keys_behind(model, keys), images)

    low, high = settings.smallest, settings.largest
    return model._replace(name="random-scale", scores=scores, randomized=True)


METHOD = Method(
    RandomScale,
    lambda settings, _: lambda model: random_scale(model, settings),
    "random logit scaling: recalled, its range is chosen here",
    randomized=True,
)
