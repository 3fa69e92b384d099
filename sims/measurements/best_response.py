"""The attacker's best response to a random defence: the smoothing radius of statement C6-radius."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from defenses.model import Model
from defenses.names import Choice
from sims.victims.losses import margin_loss
from theory.catalogue import find


class BestResponse(NamedTuple):
    """smoothing_radius: pixel units. tolerance: of the loss. lipschitz: ‖∇F̄‖, the local stand-in for L₀."""

    smoothing_radius: float
    tolerance: float
    lipschitz: float


def best_radius(
    model: Model,
    images: Float[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    gradients: Float[np.ndarray, "n h w c"],
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
    lipschitz = float(np.median(np.sqrt((gradients.reshape(len(gradients), -1) ** 2).sum(axis=1))))
    if not lipschitz > 0:
        raise ValueError(f"best_response needs a loss with a gradient, its median length is {lipschitz}")
    tolerance = float(np.median(margins)) / 2
    radius = find("C6-radius")(eps=tolerance, L0=lipschitz, d=images[0].size)
    return BestResponse(float(f"{float(radius):.3g}"), tolerance, lipschitz)


def margin_of(scores, params, images, labels):
    """Margins of a batch of an undefended model."""
    return margin_loss(scores(params, jax.random.split(jax.random.key(0), len(images)), images), labels)


def with_radius(choice: Choice, smoothing_radius: float) -> Choice | None:
    """The attack with that smoothing radius; None where it has none for directions of length about √d, as in C6.

    Those are the descents on a loss: the probes of a decision attack are measured from a boundary, in other units.
    """
    if choice.row.feedback != "loss" or not hasattr(choice.settings, "smoothing_radius"):
        return None
    settings = dataclasses.replace(choice.settings, smoothing_radius=smoothing_radius)
    return dataclasses.replace(choice, settings=settings)
