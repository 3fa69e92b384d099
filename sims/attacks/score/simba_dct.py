"""SimBA-DCT: SimBA along the low frequencies of the discrete cosine transform (Guo et al. 2019).

Nothing is transformed: a vector of the basis is the product of one cosine per row and one per column.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from defenses.options.ranges import check_counts
from sims.attacks.attack import Attack, Threat
from sims.attacks.method import Method
from sims.attacks.score import frequencies as waves
from sims.attacks.score.simba import Basis, Shape, along


@dataclass(frozen=True)
class SimBADCT:
    """Settings of SimBA-DCT."""

    step: float = 0.2
    """ℓ2 length of a step, pixel units, > 0; 0.2 as published."""
    frequencies: int = 28
    """Side of the block of low frequencies, at most the image's sides; 28 as published for 224 × 224 pixels."""
    reevaluate: bool = False
    """Query the incumbent again beside every candidate."""


def simba_dct(threat: Threat, settings: SimBADCT) -> Attack:
    """SimBA along cosines, in random order; ValueError for a setting outside its range."""
    check_counts(settings, frequencies=1)
    basis = cosines(settings.frequencies)
    return along(f"simba-dct-{threat.norm}", threat, basis, settings.step, settings.reevaluate)


def cosines(frequencies: int) -> Basis:
    """The vectors of the orthonormal DCT-II below that many frequencies per side, channel after channel."""

    def sides(shape: Shape) -> tuple[int, int]:
        return min(frequencies, shape[0]), min(frequencies, shape[1])

    def size(shape: Shape) -> int:
        rows, columns = sides(shape)
        return rows * columns * shape[2]

    def vector(index, shape):
        h, w, c = shape
        rows, columns = sides(shape)
        row_wave = jnp.asarray(waves.cosines(h, rows).T, jnp.float32)[index // c // columns]
        column_wave = jnp.asarray(waves.cosines(w, columns).T, jnp.float32)[index // c % columns]
        return row_wave[:, None, None] * column_wave[:, None] * (jnp.arange(c) == index % c)

    return Basis(size, vector)


METHOD = Method(
    SimBADCT,
    simba_dct,
    "loss",
    ("linf", "l2"),
    "1 + reevaluate",
    "Guo et al. 2019, arXiv 1905.07121; step and frequencies as published",
)
