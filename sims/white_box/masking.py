"""Signs that a defence hides its gradient instead of being robust (Athalye et al. 2018; Carlini et al. 2019).

An attack that can do more must not achieve less. Each check compares two attacks on the same images, or one attack
with chance, and is failed when the difference is above 3 standard errors, which are taken as one image at least; one
check is also failed by attacks that gain nothing at all. A defence that fails a check, or whose gradients are not
finite, is flagged: its robust accuracy under gradients that go through it says nothing. The radius must be one at which
an undefended network falls: at one that does nothing, every defence fails the check that has to gain.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from defenses.options.names import Choice
from sims.attacks.ball import Norm
from sims.white_box.table import read_white_box

STANDARD_ERRORS = 3.0
LARGER, MORE = 2, 4  # of the radius, of the steps
GREY = 0.5  # what every pixel has to move by at most for every image to become grey


class Probe(NamedTuple):
    """One attack of the checks, and its radius in pixel units."""

    attack: Choice
    epsilon: float


class Check(NamedTuple):
    """name; stronger, weaker: names of probes, the latter None where the former is held against chance.

    gains: the stronger must leave less, where the weaker leaves more than chance.
    """

    name: str
    stronger: str
    weaker: str | None
    gains: bool = False


class Finding(NamedTuple):
    """difference: robust accuracy of the stronger attack minus that of the weaker, > 0 where the weaker wins."""

    difference: float
    standard_error: float
    flagged: bool


CHECKS = (
    Check("a larger radius wins", "larger", "base", gains=True),
    Check("an unbounded radius breaks everything", "unbounded", None),
    Check("more steps do not lose", "longer", "base"),
    Check("many steps beat one", "base", "one-step"),
    Check("a black box does not beat gradients", "longer", "black-box"),
    Check("around the defence does not beat through it", "longer", "around"),
    Check("blind to the defence does not beat through it", "longer", "blind"),
)


def probes(norm: Norm, epsilon: float, pixels: int, steps: int, eot: int) -> dict[str, Probe]:
    """The attacks of all checks by name; pixels: numbers in an image."""
    unbounded = GREY if norm == "linf" else GREY * pixels**0.5
    base, longer = _pgd(steps, eot), _pgd(MORE * steps, eot)
    attacks = {
        "base": (base, epsilon),
        "one-step": (f"fgsm:eot={eot}", epsilon),
        "longer": (longer, epsilon),
        "larger": (base, LARGER * epsilon),
        "unbounded": (base, unbounded),
        "around": (f"{longer},route=around", epsilon),
        "blind": (f"{_pgd(MORE * steps, 1)},route=blind", epsilon),
        "black-box": ("square", epsilon),
    }
    return {name: Probe(read_white_box(text), radius) for name, (text, radius) in attacks.items()}


def _pgd(steps: int, eot: int) -> str:
    """PGD whose steps together are two and a half radii long, as in Madry et al. (2018), or as long as they may be."""
    return f"pgd:steps={steps},step_fraction={min(1.0, 2.5 / steps):.4g},eot={eot}"


def find(check: Check, robust: dict[str, Float[np.ndarray, " n"]], classes: int) -> Finding:
    """Judge one check. robust: by probe, the share of fresh draws in which each image is still classified correctly."""
    weaker = np.full_like(robust[check.stronger], 1 / classes) if check.weaker is None else robust[check.weaker]
    difference, error = _mean(robust[check.stronger] - weaker)
    flagged = difference > STANDARD_ERRORS * error
    if check.gains:
        left, error_left = _mean(weaker - 1 / classes)
        flagged |= difference >= 0 and left > STANDARD_ERRORS * error_left
    return Finding(difference, error, flagged)


def _mean(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The mean over images and its standard error, no smaller than one image."""
    return float(values.mean()), float(max(values.std(ddof=1) / np.sqrt(len(values)), 1 / len(values)))
