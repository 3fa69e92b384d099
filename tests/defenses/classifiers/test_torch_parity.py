"""Every architecture against its PyTorch twin: the same checkpoint, the same images, the same scores."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from defenses.classifiers import network, resnet_cifar, resnet_imagenet
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import network_classifier, template, training_logits
from defenses.data.normalization import Normalization
from defenses.weights.conversion import convert

torch = pytest.importorskip("torch", reason="needs the extra [torch]")
from tests.defenses.classifiers import torch_references as references  # noqa: E402

TOLERANCE = 1e-4
NOTICED = 1e-2  # the least error of a broken network
CLASSES = 7
CIFAR, GRAY = (32, 32, 3), (28, 28, 1)
SMALL, LARGE = (64, 64, 3), (224, 224, 3)
FAST = [
    ("resnet20", CIFAR),
    ("resnet20", GRAY),
    ("wide-resnet-28-10", CIFAR),
    ("vgg16", CIFAR),
    ("vgg16-bn", GRAY),
    ("resnet18-cifar", CIFAR),
    ("resnet18", SMALL),
    ("resnet50", SMALL),
    ("resnet50-v1", SMALL),
    ("vit-tiny-16", LARGE),
]
SLOW = [
    ("resnet32", CIFAR),
    ("resnet44", CIFAR),
    ("resnet56", CIFAR),
    ("resnet18-cifar", GRAY),
    ("resnet34-cifar", CIFAR),
    ("wide-resnet-28-10", GRAY),
    ("wide-resnet-34-10", CIFAR),
    ("vgg16", LARGE),
    ("vgg16-bn", LARGE),
    ("resnet18", LARGE),
    ("resnet34", SMALL),
    ("resnet50", LARGE),
    ("resnet50-v1", LARGE),
    ("vit-tiny-16", CIFAR),
    ("vit-small-16", LARGE),
    ("vit-base-16", LARGE),
]
FAMILIES = ["resnet20", "vgg16-bn", "resnet18", "resnet18-cifar", "vit-tiny-16"]


def plain(image_shape):
    channels = image_shape[-1]
    return Normalization((0.0,) * channels, (1.0,) * channels)


def random_images(image_shape, rows):
    return np.random.default_rng(1).normal(size=(rows, *image_shape)).astype(np.float32)


def converted(name, image_shape, arrays):
    """A twin's checkpoint as params, every name and shape as the architecture has it."""
    architecture = ARCHITECTURES[name]
    return convert(arrays, architecture, template(architecture, image_shape, CLASSES), Path(name))


def our_scores(name, params, images):
    shape = images.shape[1:]
    classifier = network_classifier(name, ARCHITECTURES[name], params, shape, CLASSES, plain(shape))
    return np.asarray(jax.jit(classifier.logits)(params, images))


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "image_shape"), [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_scores_are_those_of_pytorch(name, image_shape):
    twin = references.twin(name, image_shape, CLASSES, seed=0)
    images = random_images(image_shape, rows=1 if image_shape == LARGE else 2)
    params = converted(name, image_shape, references.checkpoint(twin))
    assert relative_error(our_scores(name, params, images), references.scores(twin, images)) <= TOLERANCE


def test_every_architecture_has_a_case():
    assert {name for name, _ in FAST + SLOW} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", FAMILIES)
def test_transposed_kernels_are_noticed(name):
    twin = references.twin(name, CIFAR, CLASSES, seed=0)
    images = random_images(CIFAR, rows=2)
    params = converted(name, CIFAR, references.checkpoint(twin))
    broken = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1) if leaf.ndim == 4 else leaf, params)
    assert relative_error(our_scores(name, broken, images), references.scores(twin, images)) > NOTICED


@pytest.mark.parametrize("wrong", ["resnet50", "resnet50-v1"])
def test_a_stride_in_the_other_convolution_is_noticed(wrong):
    right = {"resnet50": "resnet50-v1", "resnet50-v1": "resnet50"}[wrong]
    twin = references.twin(right, SMALL, CLASSES, seed=0)
    images = random_images(SMALL, rows=2)
    params = converted(right, SMALL, references.checkpoint(twin))
    assert relative_error(our_scores(wrong, params, images), references.scores(twin, images)) > NOTICED


@pytest.mark.parametrize(("name", "module"), [("resnet20", resnet_cifar), ("resnet18", resnet_imagenet)])
def test_flax_padding_is_noticed(name, module, monkeypatch):
    def same(width_in, width_out, size, rngs, stride=1):
        return nnx.Conv(width_in, width_out, (size, size), stride, padding="SAME", use_bias=False, rngs=rngs)

    twin = references.twin(name, SMALL, CLASSES, seed=0)
    images = random_images(SMALL, rows=2)
    monkeypatch.setattr(module, "convolution", same)
    monkeypatch.setattr(network, "_traced", network._traced.__wrapped__)  # not what was traced before
    params = converted(name, SMALL, references.checkpoint(twin))
    assert relative_error(our_scores(name, params, images), references.scores(twin, images)) > NOTICED


def test_swapped_keys_and_values_are_noticed():
    twin = references.twin("vit-tiny-16", CIFAR, CLASSES, seed=0)
    images = random_images(CIFAR, rows=2)
    arrays = references.checkpoint(twin)
    for name, array in arrays.items():
        if ".qkv." in name:
            query, key, value = np.split(array, 3)
            arrays[name] = np.concatenate([query, value, key])
    params = converted("vit-tiny-16", CIFAR, arrays)
    assert relative_error(our_scores("vit-tiny-16", params, images), references.scores(twin, images)) > NOTICED


def test_training_mode_is_that_of_pytorch():
    twin = references.twin("resnet20", CIFAR, CLASSES, seed=0)
    images = random_images(CIFAR, rows=8)
    before = converted("resnet20", CIFAR, references.checkpoint(twin))
    expected = references.scores(twin.train(), images)
    theirs = converted("resnet20", CIFAR, references.checkpoint(twin))
    learn = training_logits(ARCHITECTURES["resnet20"], CIFAR, CLASSES, plain(CIFAR))
    scores, ours = jax.jit(learn)(before, images)
    assert relative_error(scores, expected) <= TOLERANCE
    for stage, pixels in (("layer1", 32 * 32), ("layer2", 16 * 16), ("layer3", 8 * 8)):
        old, new, reference = (params[stage]["layers"][0]["bn1"] for params in (before, ours, theirs))
        rows = len(images) * pixels  # PyTorch stores rows/(rows − 1) of the batch's variance
        moved = (reference["var"] - 0.9 * old["var"]) * (rows - 1) / rows
        np.testing.assert_allclose(new["mean"], reference["mean"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(new["var"], 0.9 * old["var"] + moved, rtol=1e-4)
        assert np.abs(new["mean"] - old["mean"]).max() > NOTICED
