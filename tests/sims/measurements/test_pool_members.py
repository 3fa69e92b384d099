"""The members of a pool of shifts before a linear loss: every quantity has a closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.classifier import Classifier
from defenses.model import undefended
from defenses.purifiers.pools.shift import shift_family
from sims.measurements import pool_members
from sims.victims.victim import Victim

K, SIDE, DRAWS = 5, 4, 4000
RNG = np.random.default_rng(0)
SLOPE, SHIFTS = RNG.normal(size=(SIDE, SIDE, 1)), RNG.normal(size=(K, 1, 1, 1))  # of all pixels alike


def victim() -> Victim:
    """Two classes with margin ⟨w, x⟩."""

    def logits(params, images):
        margin = (images * params).sum(axis=(1, 2, 3))
        return jnp.stack([margin, jnp.zeros(len(images))], axis=1)

    network = undefended(Classifier("toy", jnp.asarray(SLOPE, jnp.float32), logits, (SIDE, SIDE, 1), 2, True))
    images = RNG.uniform(0.2, 0.8, (2, SIDE, SIDE, 1)).astype(np.float32)
    return Victim({}, {"toy": network}, images, np.zeros(2, np.int32), np.arange(2))


FAMILY = shift_family(jnp.asarray(SHIFTS, jnp.float32))


def test_losses_and_slopes_of_every_member():
    one = victim()
    found = pool_members.losses(one, FAMILY)
    expected = ((one.images[:, None] + SHIFTS) * SLOPE).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(found.loss, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.slope, np.linalg.norm(SLOPE), rtol=1e-5)


@pytest.mark.parametrize("patch", [2, 4])
def test_the_split_of_v_by_patches(patch):
    """A shift is the same whether a patch is seen alone or not: no seams, and V as first order has it."""
    calls = []
    found = pool_members.split(victim(), FAMILY, (patch,), DRAWS, 0, lambda done, total: calls.append((done, total)))
    assert calls == [(0, 2), (1, 2), (2, 2)]
    effects = (SHIFTS * SLOPE).reshape(K, SIDE // patch, patch, SIDE // patch, patch).sum(axis=(2, 4)).reshape(K, -1)
    np.testing.assert_allclose(found.together, effects.sum(axis=1).var(), rtol=1e-4)
    np.testing.assert_allclose(found.apart, effects.var(axis=0).sum(), rtol=1e-4)
    np.testing.assert_allclose(found.seam, 0, atol=1e-6)
    np.testing.assert_allclose(found.variance, effects.var(axis=0).sum(), rtol=0.12)  # 4 SE of 4,000 draws


def test_sums_over_patches():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    assert pool_members.patch_sums(jnp.asarray(image), 2).tolist() == [[10, 18, 42, 50]]
