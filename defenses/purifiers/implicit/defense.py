"""PuriDefense: a pool of local implicit purifiers, one drawn at random for every patch of every query.

Source: arXiv 2401.10586. Also its cheaper and its deterministic neighbours: one member, their average, one member an
image, and patches that are cut from what the members make of the whole image.
"""

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jaxtyping import PyTree

from defenses.defense import Defense
from defenses.options.ranges import check_counts
from defenses.purifiers.implicit import pairs
from defenses.purifiers.implicit.learning import learnt
from defenses.purifiers.implicit.members import NAME, Member, family, named_template
from defenses.purifiers.implicit.network import SIZES
from defenses.purifiers.implicit.plans import MEMBERS, PlanName, plan_for, taught_on
from defenses.purifiers.method import Method, Site
from defenses.purifiers.pools import family as families
from defenses.purifiers.pools.family import PurifierFamily
from defenses.weights.cached import card_path, read_weights
from defenses.weights.shipped import shipped

ASSIGNMENTS = ("patch", "cut", "image", "average", "member")


@dataclass(frozen=True)
class PuriDefense:
    """Settings of the defence."""

    assignment: str = "patch"
    """patch: a member of its own for every patch, which sees this patch alone; cut: patches of whole purified images;
    image: a member for every image; average: the mean of all members; member: one of them."""
    patch_size: int = 8
    """Side of a patch in pixels, >= 1; it must divide the sides of the image."""
    members: int = MEMBERS
    """Members that are used, the first ones of the pool."""
    member: int = 0
    """Which one alone, from 0."""
    context: int = 0
    """Pixels that a member sees beyond the edges of its patch, >= 0."""
    pool: str = ""
    """File of a pool that `python -m sims pool` trained; by default the shipped one, on the digits one trained here."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_counts(self, patch_size=1, members=1, member=0, context=0)
        if self.assignment not in ASSIGNMENTS:
            raise ValueError(f"assignment must be one of {', '.join(ASSIGNMENTS)}, got {self.assignment!r}")


class Pool(NamedTuple):
    """Members with their params, as `members.named` gives these; colours: channels of their images.

    dataset: which they learnt on. image_shape: (h, w, c) of the images that come; None where that is not known.
    """

    members: tuple[Member, ...]
    params: PyTree
    colours: int
    dataset: str
    image_shape: tuple[int, int, int] | None = None


def puridefense(settings: PuriDefense, pool: Pool) -> Defense:
    """The defence from that pool; ValueError for more members, or another one, than the pool has.

    And for patches that don't tile the images, where their shape is known.
    """
    size, sides = len(pool.members), pool.image_shape or (0, 0, 0)
    if settings.assignment in ("patch", "cut") and any(side % settings.patch_size for side in sides[:2]):
        raise ValueError(f"patch_size must divide the image sides {sides[0]}×{sides[1]}, got {settings.patch_size}")
    for name, least, most in (("members", 1, size), ("member", 0, size - 1)):
        if not least <= getattr(settings, name) <= most:
            raise ValueError(f"{name} must be in [{least}, {most}], the pool's, got {getattr(settings, name)}")
    if settings.assignment == "member":
        return alone(pool, settings.member)._replace(name=f"puridefense-{settings.member}")
    return _choice(settings, family(pool.members, pool.params, pool.colours, settings.members))


def whole(pool: Pool) -> PurifierFamily:
    """All members."""
    return family(pool.members, pool.params, pool.colours, len(pool.members))


def alone(pool: Pool, member: int) -> Defense:
    """One member by itself, deterministic."""
    chosen = family(pool.members[member : member + 1], {"00": pool.params[f"{member:02d}"]}, pool.colours, 1)
    return families.member(chosen, 0)


def _choice(settings: PuriDefense, purifiers: PurifierFamily) -> Defense:
    if settings.assignment == "average":
        return families.average(purifiers)
    if settings.assignment == "image":
        return families.random_choice(purifiers)
    if settings.assignment == "cut":
        return families.patchwise_choice(purifiers, settings.patch_size)
    return families.local_choice(purifiers, settings.patch_size, settings.context)


def found(name: PlanName, site: Site, file: str) -> Pool:
    """The pool of that name in that file, else the shipped one; on the digits one that is trained on a cache miss.

    On stderr is said where members learnt on another data set. Raises ValueError for a file that is no such pool, or
    whose members take images of other channels than the data set's, and where there is none.
    """
    dataset = site.dataset()
    shape, path = dataset.image_shape, pool_file(name, dataset.name, file)
    if path is not None:
        pool = read_pool(name, path)
        if pool.colours != shape[-1]:
            raise ValueError(f"pool must take the {shape[-1]} channels of {dataset.name}, got {path}")
        if pool.dataset != dataset.name:
            print(f"pool: the members in {path.name} learnt on {pool.dataset}, not on {dataset.name}", file=sys.stderr)
        return pool._replace(image_shape=shape)
    if dataset.name != "digits":
        command = f"python -m sims pool --plan {name} --dataset {dataset.name}"
        raise ValueError(f"pool must be given on {dataset.name}, as the file that `{command}` trained")
    plan, victim = plan_for(name, dataset.name), site.protected()

    def attacked(attack: str) -> pairs.Attacked:
        return pairs.attacked(attack, victim, plan.recipe.epsilon, *taught_on(plan, dataset), site.seed)

    weights = learnt(plan, dataset, victim, site.seed, site.models, attacked)
    return Pool(plan.members(site.seed), weights.params, shape[-1], dataset.name, shape)


def pool_file(name: str, dataset: str, file: str) -> Path | None:
    """The file of the pool of that name: the given one, else the shipped one; None where there is neither."""
    return Path(file) if file else shipped(name, dataset)


def read_pool(name: str, path: Path) -> Pool:
    """The pool of that name in that file, which its card beside it describes; ValueError where they are none."""
    try:
        card = json.loads(card_path(path).read_text())
        said = card["recipe"]
        pool = tuple(Member(str(attack), str(size), int(seed)) for attack, size, seed in said["members"])
        colours = int(said["colours"])
        if card["model"] != name:
            raise ValueError(f"it is one of {card['model']}")
        if not pool or any(member.size not in SIZES for member in pool):
            raise ValueError("members of unknown sizes")
        params = read_weights(path, named_template(pool, colours))[0]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"pool must be a file of `python -m sims pool` for {name} with its card, got {path} ({error})"
        ) from error
    return Pool(pool, params, colours, str(card["dataset"]))


METHOD = Method(
    PuriDefense,
    lambda settings, find: puridefense(settings, find(settings.pool)),
    "arXiv 2401.10586; encoders, patch size and training are chosen here",
    randomized=True,
    train=lambda site: partial(found, NAME, site),
)
