"""The attacker's best response to a random defence: the smoothing radius of statement C6-radius."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from defenses.data.dataset import Images
from defenses.model import Model
from defenses.options.names import Choice
from sims.victims.losses import margin_loss
from theory.catalogue import find


class BestResponse(NamedTuple):
    """smoothing_radius: pixel units. tolerance: of the loss. lipschitz: ‖∇F̄‖, the local stand-in for L₀."""

    smoothing_radius: float
    tolerance: float
    lipschitz: float


def best_radius(
    model: Model,
    images: Images,
    labels: Int[np.ndarray, " n"],
    gradient_norms: Float[np.ndarray, " n"],
) -> BestResponse:
    """C6's radius at the median image, with half of its margin as the tolerance and ‖∇F̄‖ there as L₀.

    The radius does not depend on V: noise and smoothness both improve with μ, so the attacker takes the largest that
    leaves the loss recognisable. A gradient at one point bounds L₀ from below only, so it is an estimate.
    Raises ValueError where the median gradient is zero.
    """
    margins = np.concatenate(
        [
            jax.jit(margin_of, static_argnums=0)(model.scores, model.params, images[i : i + 64], labels[i : i + 64])
            for i in range(0, len(images), 64)
        ]
    )
    lipschitz = float(np.median(gradient_norms))
    if not lipschitz > 0:
        raise ValueError(f"best_response needs a loss with a gradient, its median length is {lipschitz}")
    tolerance = float(np.median(margins)) / 2
    radius = find("C6-radius")(eps=tolerance, L0=lipschitz, d=math.prod(images.shape[1:]))
    return BestResponse(float(f"{float(radius):.3g}"), tolerance, lipschitz)


def margin_of(scores, params, images, labels):
    """Margins of a batch of an undefended model."""
    return margin_loss(scores(params, jax.random.split(jax.random.key(0), len(images)), images), labels)


def with_radius(choices: Sequence[Choice], smoothing_radius: float) -> tuple[Choice, ...]:
    """The attacks, and after them those that have a smoothing radius once more at this one; none twice.

    Those are the descents on a loss, whose directions have length about √d as in C6: the probes of a decision attack
    are measured from a boundary, in other units.
    """
    descents = [one for one in choices if one.row.feedback == "loss" and hasattr(one.settings, "smoothing_radius")]
    settings = [dataclasses.replace(one.settings, smoothing_radius=smoothing_radius) for one in descents]
    added = [dataclasses.replace(one, settings=its) for one, its in zip(descents, settings, strict=True)]
    return tuple(dict.fromkeys([*choices, *added]))
