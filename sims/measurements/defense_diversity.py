"""V, Δ, ν and ν₂ of any model with a random defence, from fresh draws at every image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from defenses.model import Model
from sims.measurements.local_geometry import loss_variance
from sims.victims.losses import margin_loss
from sims.victims.victim import Victim

QUANTITIES = {
    "defense_spread": "range of the loss over draws, from below Δ",
    "defense_nu_squared": "squared largest distance of two draws, from below ν², pixel units²",
    "defense_nu2_squared": "mean-square diversity ν₂², pixel units²",
}


def measure(victim: Victim, draws: int, seed: int, advance: Callable[[int, int], None]) -> xr.Dataset:
    """V with its standard error, and the QUANTITIES, each (defense, image), of every model of the victim.

    draws >= 2, per image. ν and Δ are maxima over the draws that were made: of a defence with many outcomes they are
    seen from below. What has no image between defence and classifier has neither ν nor ν₂: nan.
    advance: (models done, models).
    """
    variances, rest = [], []
    for done, model in enumerate(victim.models.values()):
        advance(done, len(victim.models))
        key = jax.random.key(seed)
        variance = loss_variance(model)(key, model.params, victim.images, victim.labels, draws)
        variances.append(np.array(variance) * model.randomized)  # rounding is no diversity
        rest.append(_spread(model, victim, key, draws) * model.randomized)
    advance(len(victim.models), len(victim.models))
    dims, table = ("defense", "image"), np.array(rest)
    variance, error = np.array(variances).transpose(1, 0, 2)
    data = {
        "defense_variance": (dims, variance, {"long_name": "loss-level variance V"}),
        "defense_variance_standard_error": (dims, error),
        **{name: (dims, table[:, i], {"long_name": text}) for i, (name, text) in enumerate(QUANTITIES.items())},
    }
    return xr.Dataset(data, {"defense": list(victim.models), "image": victim.ids})


def _spread(model: Model, victim: Victim, key, draws: int) -> np.ndarray:
    """The QUANTITIES (3, images)."""

    @jax.jit
    def one_image(params, keys, image, label):
        images = jnp.broadcast_to(image, (draws, *image.shape))
        losses = margin_loss(model.scores(params, keys, images), jnp.full(draws, label))
        if model.purify is None:
            return jnp.array([losses.max() - losses.min(), jnp.nan, jnp.nan])
        purified = model.purify(params, keys, images).reshape(draws, -1)
        worst = jax.lax.map(lambda one: jnp.sum((purified - one) ** 2, axis=1).max(), purified).max()
        return jnp.array([losses.max() - losses.min(), worst, 2 * jnp.sum(jnp.var(purified, axis=0, ddof=1))])

    rows = enumerate(zip(victim.images, victim.labels, strict=True))
    each = [one_image(model.params, jax.random.split(jax.random.fold_in(key, i), draws), *row) for i, row in rows]
    return np.array(each, np.float64).T
