"""The table of defences, one line each, and defences as text: `random-purifier:members=4+gaussian-noise:std=0.02`."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any

from defenses.classifiers.inside import UNKNOWN
from defenses.defense import Defense, compose
from defenses.model import Model, bare, changed, defended
from defenses.options.names import Choice, one, read, several
from defenses.own.source import is_own, own
from defenses.own.trial import tried_defense
from defenses.purifiers import averaging, feature_noise
from defenses.purifiers.implicit import defense as implicit
from defenses.purifiers.implicit import disco
from defenses.purifiers.method import Method, Site
from defenses.purifiers.pools import pool
from defenses.purifiers.shaping import aaa, dld, random_scale
from defenses.purifiers.transforms import (
    gaussian_noise,
    identity,
    jpeg,
    mean_filter,
    median_filter,
    quantizer,
    resize_pad,
)

DEFENSES: dict[str, Method] = {
    "none": identity.METHOD,
    "gaussian-noise": gaussian_noise.METHOD,
    "mean-filter": mean_filter.METHOD,
    "median-filter": median_filter.METHOD,
    "jpeg": jpeg.METHOD,
    "quantizer": quantizer.METHOD,
    "random-quantizer": quantizer.RANDOM,
    "purifier": pool.MEMBER,
    "average-purifier": pool.AVERAGE,
    "random-purifier": pool.RANDOM,
    "patchwise-purifier": pool.PATCHWISE,
    "local-purifier": pool.LOCAL,
    "puridefense": implicit.METHOD,
    "disco": disco.METHOD,
    "feature-noise": feature_noise.METHOD,
    "resize-pad": resize_pad.METHOD,
    "dld": dld.METHOD,
    "aaa": aaa.METHOD,
    "random-scale": random_scale.METHOD,
    "mean-of": averaging.METHOD,
}


@dataclass(frozen=True)
class Chain:
    """Defences one after the other, in the order in which an image meets them."""

    parts: tuple[Choice, ...]

    def __str__(self) -> str:
        """The text that `read_defense` reads as this chain."""
        return "+".join(map(str, self.parts))


def read_defense(text: str) -> Chain:
    """`name`, `name:setting=value,...` or FILE.py:NAME, or several joined by +; ValueError says what is wrong.

    `none` beside others is left out: a chain has one spelling.
    """
    parts = tuple(_read(part) for part in text.split("+"))
    return Chain(tuple(part for part in parts if part.name != "none") or parts[:1])


def _read(text: str) -> Choice:
    return own("defense", text) if is_own(text) else read("defense", text, DEFENSES)


def defense_choices(*texts: str) -> tuple[Chain, ...]:
    """Several of them, as a default of an option."""
    return tuple(map(read_defense, texts))


def build(chain: Chain, site: Site) -> Callable[[Model], Model]:
    """What puts the chain in front of a model, whose name is then the chain's; trains what has to be trained."""
    parts = [_built(part, site) for part in chain.parts]
    guards = []
    for is_defense, group in groupby(parts, lambda part: isinstance(part, Defense)):
        members: list[Any] = list(group)
        guards += [_before(members)] if is_defense else map(_around, members)
    nothing = all(part.name == "none" for part in chain.parts)

    def guarded(model: Model) -> Model:
        if nothing and model.host is not None:
            return model._replace(name=str(chain), behind=model)  # the engine asks it for exactly the rows that wait
        for guard in reversed(guards):
            model = guard(model)
        return model._replace(name=str(chain))

    return guarded


def _built(part: Choice, site: Site) -> Defense | Callable[[Model], Model]:
    built = part.row.build(part.settings, None if part.row.train is None else part.row.train(site))
    return tried_defense(part.name, built, site.dataset()) if is_own(part.name) else built


def _before(members: list[Defense]) -> Callable[[Model], Model]:
    defense = members[0] if len(members) == 1 else compose(*members)
    return lambda model: defended(model, defense)


def _around(change_model: Callable[[Model], Model]) -> Callable[[Model], Model]:
    """A function Model -> Model whose result knows what stands behind it, however the function made it.

    One that replaces the scores of a record alone would keep what the record says of the model inside: how gradients go
    around its defences, and where it is asked on the host.
    """

    def guarded(model: Model) -> Model:
        made = change_model(model)
        return made._replace(
            behind=bare(model),
            rebuilt=lambda change: guarded(changed(model, change)),
            host=None if made.host is model.host else made.host,
            inside=UNKNOWN,
        )

    return guarded


DefenseOption = Annotated[Chain, one(Chain, read_defense, "DEFENSE")]
DefenseOptions = Annotated[tuple[Chain, ...], several(Chain, read_defense, "DEFENSE")]
