"""Diversity of pools of several architectures, against closed forms and against the defences themselves."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.classifier import Classifier
from defenses.model import undefended
from defenses.purifiers.pools.family import family_of, joined, local_choice, patchwise_choice
from sims.measurements import pool_diversity
from sims.victims.victim import Victim

SIDE, PATCH, DRAWS = 4, 2, 6000
RNG = np.random.default_rng(0)
SLOPE = RNG.normal(size=(SIDE, SIDE, 1))
FEW, MORE = RNG.normal(size=(2,)), RNG.normal(size=(3,))


def _blurred(params, images):
    """Looks one pixel to the right, where a patch that is seen alone has nothing."""
    right = jnp.pad(images, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
    return images + params["shift"] * right


def family():
    """Two members that shift, three that blur."""
    shifts = family_of("shift", {"shift": jnp.asarray(FEW, jnp.float32)}, lambda p, x: x + p["shift"], 2)
    return joined("both", shifts, family_of("blur", {"shift": jnp.asarray(MORE, jnp.float32)}, _blurred, 3))


def victim():
    """Two classes with margin ⟨w, x⟩, and one image."""

    def logits(params, images):
        margin = (images * params).sum(axis=(1, 2, 3))
        return jnp.stack([margin, jnp.zeros(len(images))], axis=1)

    network = undefended(Classifier("toy", jnp.asarray(SLOPE, jnp.float32), logits, (SIDE, SIDE, 1), 2, True))
    return Victim({}, {"toy": network}, IMAGE[None], np.zeros(1, np.int32), np.arange(1))


IMAGE = RNG.uniform(0.2, 0.8, (SIDE, SIDE, 1)).astype(np.float32)


def outputs(alone):
    """(5, SIDE, SIDE, 1) by hand."""
    right = np.zeros_like(IMAGE)
    right[:, :-1] = IMAGE[:, 1:]
    if alone:
        right[:, PATCH - 1 :: PATCH] = 0
    return np.concatenate([[IMAGE + shift for shift in FEW], [IMAGE + shift * right for shift in MORE]])


def by_patch(images):
    count = SIDE // PATCH
    return (
        images.reshape(*images.shape[:-3], count, PATCH, count, PATCH).swapaxes(-3, -2).reshape(-1, count**2, PATCH**2)
    )


@pytest.mark.parametrize("alone", [False, True])
def test_quantities_are_means_over_all_choices_of_members(alone):
    """Every pair of the five members, of one architecture or of both."""
    found = pool_diversity.measure(victim(), family(), (2,), (PATCH,), alone, 10, DRAWS, 0, lambda done, total: None)
    variances, worst, squares = [], [], []
    for chosen in combinations(range(5), 2):
        tiles = by_patch(outputs(alone)[list(chosen)])
        variances.append((tiles * by_patch(SLOPE[None])).sum(axis=2).var(axis=0).sum())
        gaps = ((tiles[0] - tiles[1]) ** 2).sum(axis=1)
        worst.append(gaps.sum())
        squares.append(gaps.sum() / 2)
    np.testing.assert_allclose(found.variance.values.ravel(), np.mean(variances), rtol=0.06)
    np.testing.assert_allclose(found.nu_squared.values.ravel(), np.mean(worst), rtol=1e-4)
    np.testing.assert_allclose(found.nu2_squared.values.ravel(), np.mean(squares), rtol=0.06)
    other = np.abs(outputs(True) - outputs(False)).max()
    assert other > 0.1  # or the two ways to see a patch could be exchanged


@pytest.mark.parametrize("alone", [False, True])
def test_drawn_images_are_those_of_the_defence(alone):
    """Of every patch the same outcomes, as often."""
    defense = (local_choice if alone else patchwise_choice)(family(), PATCH)
    keys = jax.random.split(jax.random.key(1), DRAWS)
    theirs = np.asarray(defense.apply(defense.params, keys, jnp.broadcast_to(IMAGE, (DRAWS, *IMAGE.shape))))
    seen = pool_diversity.seen(family(), jnp.asarray(IMAGE[None]), PATCH, alone)[:, 0]
    ours = np.asarray(pool_diversity.drawn(jax.random.key(2), seen, PATCH, DRAWS))
    for corner in ((0, 0), (2, 2)):
        counts = []
        for images in (ours, theirs):
            gaps = np.abs(images[:, None, corner[0], corner[1], 0] - np.asarray(seen)[:, corner[0], corner[1], 0])
            assert gaps.min(axis=1).max() < 1e-6
            counts.append(np.bincount(gaps.argmin(axis=1), minlength=5) / DRAWS)
        np.testing.assert_allclose(counts[0], counts[1], atol=4 * np.sqrt(2 * 0.2 * 0.8 / DRAWS))
