from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.training.recipe import Recipe, check, optimizer_of
from defenses.training.schedules import cosine, multistep

RECIPE = Recipe(3, 64, 0.1, 1e-4, "cosine")


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (multistep(0.1, 100, 10), {0: 0.1, 49: 0.1, 50: 0.01, 74: 0.01, 75: 0.001, 99: 0.001}),
        (cosine(0.1, 200, 10), {0: 0, 5: 0.05, 10: 0.1, 105: 0.05, 200: 0}),
        (cosine(0.1, 20, 10), {0: 0, 2: 0.1, 11: 0.05, 20: 0}),
        (cosine(0.1, 1, 1), {0: 0}),
    ],
)
def test_schedules_at_the_steps_that_matter(rate, expected):
    assert [np.asarray(rate(step)) for step in expected] == pytest.approx(list(expected.values()), abs=1e-7)


def test_adamw_by_hand_decays_kernels_alone():
    """First step: w ← w − r (g/(|g| + 1e-8) + decay · w), without decay for biases."""
    recipe = Recipe(2, 8, 0.1, 0.5, "multistep", optimizer="adamw")
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    gradient = {"kernel": jnp.full((2, 2), 0.2), "bias": jnp.full(2, -0.2)}
    optimizer = optimizer_of(recipe, 10, {"kernel": True, "bias": True})
    bias, kernel = jax.tree.leaves(optimizer.update(gradient, optimizer.init(params), params)[0])
    np.testing.assert_allclose(kernel, -0.1 * (1 + 0.5 * 3), rtol=1e-5)
    np.testing.assert_allclose(bias, 0.1, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, r"epochs must be in \[1, 100000\], got 0"),
        ({"batch_size": 0}, r"batch_size must lie in 1..100, the training images, got 0"),
        ({"batch_size": 101}, "got 101"),
        ({"learning_rate": -0.1}, "learning_rate must be > 0 and finite, got -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate must be > 0 and finite, got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be ≥ 0 and finite, got -1"),
        ({"average": 1.0}, r"average must lie in \[0, 1\), got 1"),
        ({"schedule": "never"}, "schedule must be one of multistep, cosine, got 'never'"),
        ({"augmentation": "magic"}, "augmentation must be one of crop-and-flip, crop, none, got 'magic'"),
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adamw, got 'lion'"),
    ],
)
def test_recipes_out_of_range(change, message):
    check(RECIPE, 100)
    with pytest.raises(ValueError, match=message):
        check(replace(RECIPE, **change), 100)
