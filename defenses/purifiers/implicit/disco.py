"""DISCO: one local implicit purifier of full size, which purifies whole images and draws nothing.

Source: Ho and Vasconcelos, DISCO: Adversarial Defense with Local Implicit Functions (2022).
"""

from dataclasses import dataclass
from functools import partial

from defenses.defense import Defense
from defenses.purifiers.implicit.defense import Pool, alone, found
from defenses.purifiers.method import Method


@dataclass(frozen=True)
class Disco:
    """Settings of DISCO."""

    pool: str = ""
    """File that `python -m sims pool --plan disco` trained; on the digits a small one is trained without it."""


def disco(pool: Pool) -> Defense:
    """The first member of that pool alone."""
    return alone(pool, 0)._replace(name="disco")


METHOD = Method(
    Disco,
    lambda settings, find: disco(find(settings.pool)),
    "Ho and Vasconcelos 2022, arXiv 2212.06330; residual decoder and training are chosen here",
    train=lambda site: partial(found, "disco", site),
)
