"""The trained pool of purifiers as defences: one member, the average of all, a random one per image or per patch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from defenses.data.dataset import training_images
from defenses.defense import Defense
from defenses.evaluation import accuracy
from defenses.model import defended
from defenses.options.ranges import check_counts
from defenses.purifiers.method import Method, Site
from defenses.purifiers.pools import convolutional, family
from defenses.purifiers.pools.family import PurifierFamily
from defenses.weights.cached import Identity, Weights
from defenses.weights.trained import trained as trained_weights

SIZE = len(convolutional.Recipe().members)
SOURCE = "small residual networks trained here; "


@dataclass(frozen=True)
class Pool:
    """Settings of what uses the whole pool."""

    members: int = SIZE
    """Purifiers that are used, the first ones of the pool; from 1 to all 8."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        if not 1 <= self.members <= SIZE:
            raise ValueError(f"members must be in [1, {SIZE}], got {self.members}")


@dataclass(frozen=True)
class Patchwise(Pool):
    """Settings of the patch-wise choice."""

    patch_size: int = 4
    """Side of a patch in pixels, >= 1; it must divide the sides of the image."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        super().__post_init__()
        check_counts(self, patch_size=1)


@dataclass(frozen=True)
class Member:
    """Settings of a single purifier."""

    member: int = 0
    """Which one of the pool, from 0."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        if not 0 <= self.member < SIZE:
            raise ValueError(f"member must be in [0, {SIZE - 1}], got {self.member}")


def weights(site: Site) -> Weights:
    """Weights of the pool; trains it, and the classifier that it protects where that is small, on a cache miss.

    The card reports the accuracy of the protected classifier behind the pool's average. Raises ValueError where the
    data set has no images to train on.
    """
    dataset = site.dataset()
    training_images(dataset)  # before anything is written
    recipe, victim = convolutional.Recipe(), site.protected()

    def measure(params: PyTree) -> Mapping[str, int | float]:
        averaged = family.average(convolutional.family(recipe, params))
        return accuracy(defended(victim, averaged), dataset.test, site.seed)._asdict()

    return trained_weights(
        Identity("purifiers", dataset.name, site.seed, {"victim": dict(victim.origin), **asdict(recipe)}),
        site.models,
        jax.eval_shape(lambda: convolutional.initial(recipe, dataset.image_shape[-1], site.seed)),
        lambda: convolutional.training(recipe, dataset, victim, site.seed),
        measure,
    )


def trained(site: Site) -> PurifierFamily:
    """The pool, trained on a cache miss."""
    return convolutional.family(convolutional.Recipe(), weights(site).params)


def _first(settings: Pool, pool: PurifierFamily) -> PurifierFamily:
    return pool if settings.members == pool.size else family.members(pool, np.arange(settings.members))


def _random(settings: type, choice: Callable[[PurifierFamily, Any], Defense], what: str) -> Method:
    """A row of the table: a random choice among the pool's first members; choice: (they, settings) -> the defence."""
    return Method(
        settings,
        lambda settings, pool: choice(_first(settings, pool), settings),
        f"{SOURCE}{what}, after arXiv 2401.10586",
        randomized=True,
        train=trained,
    )


MEMBER = Method(
    Member, lambda settings, pool: family.member(pool, settings.member), SOURCE + "one alone", train=trained
)
AVERAGE = Method(
    Pool, lambda settings, pool: family.average(_first(settings, pool)), SOURCE + "their mean image", train=trained
)
RANDOM = _random(Pool, lambda pool, _: family.random_choice(pool), "one per query")
PATCHWISE = _random(
    Patchwise,
    lambda pool, settings: family.patchwise_choice(pool, settings.patch_size),
    "one per patch and query",
)
LOCAL = _random(
    Patchwise,
    lambda pool, settings: family.local_choice(pool, settings.patch_size),
    "one per patch and query, which sees its patch alone",
)
