import jax
import jax.numpy as jnp
import numpy as np

from defenses.evaluation import accuracy
from defenses.model import defended
from defenses.purifiers.pools import convolutional, family
from defenses.purifiers.pools.perturbations import PERTURBATIONS
from defenses.purifiers.transforms.identity import identity

MEMBERS = convolutional.Recipe().members


def test_purify_is_two_convolutions_around_a_smooth_activation(purifiers, held_out):
    images = jnp.asarray(held_out.images[:8])
    one = family.member(purifiers, 3).params

    def convolve(images, kernel):
        return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    hidden = convolve(images, one["first"]["kernel"].reshape(3, 3, 1, 8)) + one["first"]["bias"]
    kernel = one["second"]["kernel"].reshape(8, 3, 3, 1).transpose(1, 2, 0, 3)
    update = convolve(hidden / jnp.sqrt(1 + hidden**2), kernel) + one["second"]["bias"]
    np.testing.assert_allclose(convolutional.purify(one, images), images + update, atol=1e-5)


def test_members_and_their_average_keep_the_clean_accuracy(cnn, purifiers, held_out):
    images = jnp.asarray(held_out.images)
    stacked = family.outputs(purifiers, images)
    variants = jnp.concatenate([images[None], stacked, stacked.mean(0)[None]])
    predicted = jax.lax.map(lambda images: cnn.logits(cnn.params, images).argmax(-1), variants)
    clean, *behind = np.asarray((predicted == held_out.labels).mean(1))
    assert len(behind) == 9
    assert min(behind) >= clean - 0.02


def test_the_random_choice_keeps_the_clean_accuracy(cnn, purifiers, held_out):
    clean = accuracy(defended(cnn, identity()), held_out, seed=0).accuracy
    assert accuracy(defended(cnn, family.random_choice(purifiers)), held_out, seed=0).accuracy >= clean - 0.02


def test_members_remove_a_fifth_of_their_own_perturbation(cnn, purifiers, held_out):
    images, labels = jnp.asarray(held_out.images), jnp.asarray(held_out.labels)
    directions = {name: p(jax.random.key(11), cnn, images, labels) for name, p in PERTURBATIONS.items()}
    noise = jnp.stack([largest * directions[kind] for kind, largest in MEMBERS])
    left = jax.jit(jax.vmap(convolutional.purify))(purifiers.params[0], images + noise) - images
    ratio = jnp.square(left).mean((1, 2, 3, 4)) / jnp.square(noise).mean((1, 2, 3, 4))
    assert ratio.shape == (8,)
    assert ratio.max() < 0.8


def test_members_differ_on_every_scan(purifiers, held_out):
    stacked = np.asarray(family.outputs(purifiers, jnp.asarray(held_out.images)))
    distances = np.sqrt(((stacked[:, None] - stacked[None]) ** 2).sum((3, 4, 5)))
    pairs = distances[np.triu_indices(purifiers.size, 1)]
    assert pairs.min() > 0.01
    assert 0.2 < pairs.mean() < 1.0


def test_perturbations_have_amplitude_one_and_gradient_signs_raise_the_loss(cnn, held_out):
    images, labels = jnp.asarray(held_out.images), jnp.asarray(held_out.labels)
    made = {name: p(jax.random.key(2), cnn, images, labels) for name, p in PERTURBATIONS.items()}
    assert abs(float(made["gaussian"].var()) - 1) < 4 * np.sqrt(2 / images.size)
    assert abs(float(jnp.square(made["uniform"]).mean()) - 1 / 3) < 4 * np.sqrt(4 / 45 / images.size)
    assert (jnp.abs(made["signs"]) == 1).all()
    fooled = cnn.logits(cnn.params, images + 0.15 * made["fast-gradient-sign"]).argmax(-1) != labels
    jittered = cnn.logits(cnn.params, images + 0.15 * made["signs"]).argmax(-1) != labels
    assert fooled.mean() > 5 * jittered.mean()
