import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses import zoo
from defenses.classifiers import cnn as cnn_module
from defenses.classifiers.classifier import Classifier
from defenses.data import digits
from defenses.evaluation import accuracy
from defenses.files.folders import Folders
from defenses.model import defended
from defenses.purifiers.transforms.identity import identity


@pytest.fixture(scope="module", params=list(zoo.SMALL))
def classifier(request, folders):
    return zoo.classifier(request.param, folders=folders)


def images_for(classifier, rows=64):
    return jax.random.uniform(jax.random.key(1), (rows, *classifier.image_shape))


def test_record(classifier):
    scores = jax.jit(classifier.logits)(classifier.params, images_for(classifier))
    assert isinstance(classifier, Classifier)
    assert scores.shape == (64, classifier.num_classes)
    assert scores.dtype == jnp.float32
    assert np.isfinite(scores).all()
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(classifier.params))


@pytest.mark.as_users_compile
def test_bits_of_a_row_ignore_neighbours_and_position(classifier, users_options):
    """In batches of one size, up to the engine's tile of 16 rows.

    Across sizes some processors round otherwise, and one that we met rounds by position in batches of 32.
    """
    images = np.asarray(images_for(classifier))
    logits = jax.jit(classifier.logits, compiler_options=users_options)
    whole = np.asarray(logits(classifier.params, images))
    for batch in (8, 16):
        scores = np.zeros((2, *whole.shape), np.float32)
        for draw in range(2):
            order = np.random.default_rng([batch, draw]).permutation(64)
            for rows in order.reshape(-1, batch):
                scores[draw, rows] = logits(classifier.params, images[rows])
        assert np.array_equal(scores[0], scores[1]), batch
        np.testing.assert_allclose(scores[0], whole, rtol=1e-5, atol=1e-4)


def test_cnn_is_accurate_on_held_out_digits(cnn, held_out):
    measured = accuracy(defended(cnn, identity()), held_out, seed=0)
    assert measured.images == 599
    assert measured.accuracy >= 0.98
    expected = np.sqrt(measured.accuracy * (1 - measured.accuracy) / 599)
    assert measured.standard_error == pytest.approx(expected)


def test_accuracy_counts_the_right_rows(cnn, held_out):
    predicted = np.asarray(cnn.logits(cnn.params, jnp.asarray(held_out.images)).argmax(-1))
    share = float((predicted == held_out.labels).mean())
    assert accuracy(defended(cnn, identity()), held_out, seed=0).accuracy == pytest.approx(share)
    wrong = held_out._replace(labels=((predicted + 1) % 10).astype(np.int32))
    assert accuracy(defended(cnn, identity()), wrong, seed=0).accuracy == 0


def test_seeds_differ():
    first, other = (cnn_module.initial(cnn_module.Recipe(), digits.load(), seed) for seed in (3, 4))
    assert not np.array_equal(first["head"]["kernel"], other["head"]["kernel"])


def test_accuracy_refuses_images_of_another_shape(cnn, held_out):
    wide = held_out._replace(images=held_out.images.repeat(2, axis=2))
    with pytest.raises(ValueError, match=r"images of shape \(8, 8, 1\) for cnn, got \(8, 16, 1\)"):
        accuracy(defended(cnn, identity()), wide, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg",), "classifier must be one of cnn, orthogonal, resnet20, .*, got 'vgg'"),
        (("cnn", "svhn"), "dataset must be one of digits, .*, got 'svhn'"),
        (("cnn", "digits", -1), "seed must lie in 0..4294967295, got -1"),
    ],
)
def test_unknown_names_and_negative_seeds(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        zoo.classifier(*arguments, folders=Folders(models=tmp_path))
    assert not any(tmp_path.iterdir())
