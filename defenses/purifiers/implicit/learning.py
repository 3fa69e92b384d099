"""A pool learnt: members one after the other, each kept when it is done, then all in one file."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset, as_bytes, training_images
from defenses.evaluation import accuracy
from defenses.model import defended
from defenses.purifiers.implicit.members import Member, family, named, named_template
from defenses.purifiers.implicit.network import SIZES, template
from defenses.purifiers.implicit.pairs import Attacked
from defenses.purifiers.implicit.plans import Plan, taught_on
from defenses.purifiers.implicit.training import pairs_of, training
from defenses.purifiers.pools import family as families
from defenses.training.training import Training
from defenses.weights.cached import Identity, Weights, obtain
from defenses.weights.trained import trained


def learnt(
    plan: Plan, dataset: Dataset, victim: Classifier, seed: int, cache: Path, attacked: Callable[[str], Attacked]
) -> Weights:
    """The file of the pool: read from `cache`, or trained, measured and stored there.

    victim: the classifier that the attacks attack. attacked: (an attack's name) -> what it makes of the plan's images,
    asked for only where a member is missing. The card reports the accuracy of the victim on the test images behind a
    member of its own for every patch. Raises ValueError as `trained` does, and for a data set without training images.
    """
    training_images(dataset)  # before anything is written
    pool, colours = plan.members(seed), dataset.image_shape[-1]
    recipe = {
        "victim": dict(victim.origin),
        "members": [list(member) for member in pool],
        "colours": colours,
        "undone": [plan.undone(member) for member in pool],
    }
    identity = Identity(plan.name, dataset.name, seed, recipe | asdict(plan.recipe))

    def train() -> tuple[PyTree, Mapping[str, Any]]:
        once = lru_cache(attacked)
        taught = [_taught(plan, member, dataset, victim, cache, once) for member in pool]
        seconds = [one.card["training"]["seconds"] for one in taught]
        return named([one.params for one in taught]), {"seconds": round(sum(seconds), 1)}

    def measure(params: PyTree) -> Mapping[str, Any]:
        purifiers = families.local_choice(family(pool, params, colours, len(pool)), plan.recipe.patch_size)
        return accuracy(defended(victim, purifiers), dataset.test, seed)._asdict()

    return obtain(identity, cache, named_template(pool, colours), train, measure)


def _taught(
    plan: Plan,
    member: Member,
    dataset: Dataset,
    victim: Classifier,
    cache: Path,
    attacked: Callable[[str], Attacked],
) -> Weights:
    size, name, undone = SIZES[member.size], f"{plan.name}-{member.size}-{member.kind}", plan.undone(member)

    def task() -> Training:
        clean = as_bytes(taught_on(plan, dataset).images[:])
        pairs = pairs_of(np.concatenate([clean] * len(undone)), np.concatenate([attacked(one) for one in undone]))
        return training(name, plan.recipe, size, pairs, member.seed)

    recipe = {"victim": dict(victim.origin), "undone": undone, **asdict(plan.recipe)}
    identity = Identity(name, dataset.name, member.seed, recipe)
    return trained(identity, cache, template(size, dataset.image_shape[-1]), task, lambda params: {})
