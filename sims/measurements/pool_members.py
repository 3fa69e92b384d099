"""What the members of a pool make of an image, one by one: their losses, and the share that each patch has in V.

A purifier that is drawn for a whole image moves all patches together; drawn for each patch, it moves them one by one.
To first order around the members' mean image, patch p of member k adds a_pk = ⟨∇f(m̄(x)), m_k(x) − m̄(x)⟩_p to the
loss: then V is Var_k Σ_p a_pk image-wise and Σ_p Var_k a_pk patch-wise (statement P1-variance).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from defenses.purifiers.pools.family import PurifierFamily
from defenses.purifiers.pools.patches import cut
from sims.measurements.pool_diversity import drawn, seen
from sims.victims.losses import margin_loss
from sims.victims.victim import Victim

QUANTITIES = {
    "variance": "loss-level variance V of the patch-wise choice",
    "together": "V to first order, one member for all patches",
    "apart": "V to first order, a member for every patch",
    "alike": "share of the pairs of draws that are the same image",
    "seam": "mean absolute difference of the members' outputs to those from whole images, pixel units",
}


def losses(victim: Victim, family: PurifierFamily) -> xr.Dataset:
    """The margin loss of the network behind every member, and the length of its gradient, (image, place).

    place: in the family, where members of one encoder stand together.
    .
    """
    network = victim.network

    @jax.jit
    def at(pool, params, image, label):
        def of_member(image):
            purified = seen(family._replace(params=pool), image[None], image.shape[0], False)[:, 0]
            keys = jax.random.split(jax.random.key(0), family.size)
            return margin_loss(network.scores(params, keys, purified), jnp.full(family.size, label))

        value, back = jax.vjp(of_member, image)
        slopes = jax.lax.map(lambda one: back(one)[0], jnp.eye(family.size))
        return value, jnp.sqrt(jnp.sum(slopes**2, axis=(1, 2, 3)))

    rows = zip(victim.images, victim.labels, strict=True)
    found = np.array([at(family.params, network.params, *row) for row in rows])
    data = {
        "loss": (("image", "place"), found[:, 0], {"long_name": "margin loss behind the member"}),
        "slope": (("image", "place"), found[:, 1], {"long_name": "length of its gradient"}),
    }
    return xr.Dataset(data, {"image": victim.ids, "place": np.arange(family.size)})


def split(
    victim: Victim,
    family: PurifierFamily,
    patch_sizes: tuple[int, ...],
    draws: int,
    seed: int,
    advance: Callable[[int, int], None],
) -> xr.Dataset:
    """The QUANTITIES, each (seen, patch_size, image); seen: "whole", or "alone" where members see a patch alone.

    draws: of the choice per image, behind its variance. advance: (settings done, settings).
    """
    settings = [(alone, patch) for alone in (False, True) for patch in patch_sizes]
    table = []
    for done, (alone, patch) in enumerate(settings):
        advance(done, len(settings))
        measure, key = _of_image(victim, family, patch, alone, draws), jax.random.key(seed)
        rows = enumerate(zip(victim.images, victim.labels, strict=True))
        given = family.params, victim.network.params
        table.append([measure(*given, jax.random.fold_in(key, i), *row) for i, row in rows])
    advance(len(settings), len(settings))
    values = np.array(table, np.float64).reshape(2, len(patch_sizes), len(victim.images), len(QUANTITIES))
    dims = ("seen", "patch_size", "image")
    data = {name: (dims, values[..., i], {"long_name": text}) for i, (name, text) in enumerate(QUANTITIES.items())}
    return xr.Dataset(data, {"seen": ["whole", "alone"], "patch_size": list(patch_sizes), "image": victim.ids})


def _of_image(victim: Victim, family: PurifierFamily, patch: int, alone: bool, draws: int):
    """The jitted measurement of the QUANTITIES at one image."""
    network = victim.network

    @jax.jit
    def measure(pool, params, key, image, label):
        members = family._replace(params=pool)
        outputs = seen(members, image[None], patch, alone)[:, 0]
        mean = outputs.mean(axis=0)

        def loss(images):
            keys = jax.random.split(key, len(images))
            return margin_loss(network.scores(params, keys, images), jnp.full(len(images), label))

        slope = jax.grad(lambda one: loss(one[None])[0])(mean)
        effects = patch_sums(slope * (outputs - mean), patch)
        images = drawn(key, outputs, patch, draws)
        same = jnp.all(images[: draws // 2] == images[draws // 2 : 2 * (draws // 2)], axis=(1, 2, 3))
        whole = seen(members, image[None], patch, False)[:, 0]
        together, apart = jnp.var(effects.sum(axis=1)), jnp.var(effects, axis=0).sum()
        seam = jnp.abs(outputs - whole).mean()
        return jnp.stack([jnp.var(loss(images), ddof=1), together, apart, same.mean(), seam])

    return measure


def patch_sums(images: jax.Array, patch: int) -> jax.Array:
    """(n, patches) sums over the pixels of every patch of images (n, h, w, c)."""
    return cut(images, patch).reshape(len(images), -1, patch * patch * images.shape[-1]).sum(axis=2)
