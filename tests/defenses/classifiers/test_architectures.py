"""The table of architectures: sizes, shapes, layouts, modes, and the names of published checkpoints."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import initial, network_classifier, template, trainable, training_logits
from defenses.data.normalization import IMAGENET, NORMALIZATIONS, Normalization

CIFAR, GRAY, LARGE = (32, 32, 3), (28, 28, 1), (224, 224, 3)
PUBLISHED_SIZES = {  # trainable parameters, from the papers, torchvision and timm
    "resnet20": (CIFAR, 10, 269_722),
    "resnet20-fast-at": (CIFAR, 10, 269_722),
    "resnet32": (CIFAR, 10, 464_154),
    "resnet44": (CIFAR, 10, 658_586),
    "resnet56": (CIFAR, 10, 853_018),
    "resnet18-cifar": (CIFAR, 10, 11_173_962),
    "resnet34-cifar": (CIFAR, 10, 21_282_122),
    "wide-resnet-28-10": (CIFAR, 10, 36_479_194),
    "wide-resnet-34-10": (CIFAR, 10, 46_160_474),
    "vgg16": (LARGE, 1000, 138_357_544),
    "vgg16-bn": (LARGE, 1000, 138_365_992),
    "resnet18": (LARGE, 1000, 11_689_512),
    "resnet34": (LARGE, 1000, 21_797_672),
    "resnet50": (LARGE, 1000, 25_557_032),
    "resnet50-v1": (LARGE, 1000, 25_557_032),
    "vit-tiny-16": (LARGE, 1000, 5_717_416),
    "vit-small-16": (LARGE, 1000, 22_050_664),
    "vit-base-16": (LARGE, 1000, 86_567_656),
}
ONE_OF_EACH_KIND = ("resnet20", "wide-resnet-28-10", "vgg16-bn", "resnet18", "resnet18-cifar", "vit-tiny-16")
ALL = [pytest.param(name, marks=[pytest.mark.slow] * (name not in ONE_OF_EACH_KIND)) for name in ARCHITECTURES]
CONVOLUTION = re.compile(r"stablehlo\.convolution\(.*dim_numbers = \[(.*?)\]x\[(.*?)\]->\[(.*?)\]")
CHANNELS_LAST = ("b, 0, 1, f", "0, 1, i, o", "b, 0, 1, f")


@pytest.fixture(scope="module")
def resnet20():
    return initial(ARCHITECTURES["resnet20"], CIFAR, 10, 0)


def leaves(tree):
    """Arrays by their names, joined by "/"."""
    paths = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def lowered(name, image_shape):
    """The program of a network, and the number of convolutions that its kernels make."""
    architecture = ARCHITECTURES[name]
    params = template(architecture, image_shape, 10)
    classifier = network_classifier(name, architecture, params, image_shape, 10, IMAGENET)
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    kernels = sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params))
    return jax.jit(classifier.logits).lower(params, images).as_text(), kernels


@pytest.mark.parametrize("name", ALL)
def test_published_size(name):
    image_shape, classes, size = PUBLISHED_SIZES[name]
    params = leaves(template(ARCHITECTURES[name], image_shape, classes))
    learnt = leaves(trainable(ARCHITECTURES[name], image_shape, classes))
    assert all(leaf.dtype == jnp.float32 for leaf in params.values())
    assert sum(leaf.size for path, leaf in params.items() if learnt[path]) == size
    assert {path.rpartition("/")[2] for path in params if not learnt[path]} <= {"mean", "var"}


@pytest.mark.parametrize("name", ALL)
def test_every_convolution_is_channels_last(name):
    program, kernels = lowered(name, CIFAR)
    assert CONVOLUTION.findall(program) == [CHANNELS_LAST] * kernels
    assert program.count("convolution") == kernels


def test_a_channels_first_convolution_is_noticed():
    images, kernel = jnp.zeros((1, 3, 8, 8)), jnp.zeros((4, 3, 3, 3))
    program = jax.jit(lambda x, k: jax.lax.conv(x, k, (1, 1), "SAME")).lower(images, kernel).as_text()
    assert len(CONVOLUTION.findall(program)) == 1
    assert CONVOLUTION.findall(program) != [CHANNELS_LAST]


@pytest.mark.parametrize(
    ("name", "image_shape"),
    [
        ("resnet20", GRAY),
        pytest.param("vit-tiny-16", CIFAR, marks=pytest.mark.slow),
        pytest.param("vgg16-bn", GRAY, marks=pytest.mark.slow),
        pytest.param("resnet18", CIFAR, marks=pytest.mark.slow),
    ],
)
def test_untrained_network(name, image_shape):
    architecture = ARCHITECTURES[name]
    params, other = (initial(architecture, image_shape, 5, seed) for seed in (0, 1))
    expected = leaves(template(architecture, image_shape, 5))
    found = leaves(params)
    assert {path: (leaf.shape, leaf.dtype) for path, leaf in found.items()} == {
        path: (leaf.shape, leaf.dtype) for path, leaf in expected.items()
    }
    assert all(np.any(found[path] != leaf) for path, leaf in leaves(other).items() if path.endswith("kernel"))
    classifier = network_classifier(name, architecture, params, image_shape, 5, plain(image_shape))
    assert (classifier.name, classifier.image_shape, classifier.num_classes) == (name, image_shape, 5)
    assert classifier.smooth == name.startswith("vit")
    scores = jax.jit(classifier.logits)(params, jax.random.normal(jax.random.key(0), (8, *image_shape)))
    assert scores.shape == (8, 5)
    assert scores.dtype == jnp.float32
    assert np.std(scores, axis=0).min() > 0
    assert 1e-3 < np.abs(scores).max() < 100


def test_untrained_params_are_reproducible(resnet20):
    first, again = leaves(resnet20), leaves(initial(ARCHITECTURES["resnet20"], CIFAR, 10, 0))
    assert all(np.array_equal(first[path], again[path]) for path in first)


def test_normalization_stands_in_front(resnet20):
    architecture, params = ARCHITECTURES["resnet20"], resnet20
    images = jax.random.uniform(jax.random.key(0), (4, *CIFAR))
    normalized, bare = (
        network_classifier("resnet20", architecture, params, CIFAR, 10, normalization)
        for normalization in (NORMALIZATIONS["cifar10"], plain(CIFAR))
    )
    mean, std = jnp.array([0.4914, 0.4822, 0.4465]), jnp.array([0.2470, 0.2435, 0.2616])
    expected = bare.logits(params, (images - mean) / std)
    np.testing.assert_allclose(normalized.logits(params, images), expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(bare.logits(params, images), expected, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.as_users_compile
def test_batch_norm_has_two_modes(resnet20, users_options):
    architecture, params = ARCHITECTURES["resnet20"], resnet20
    images = jax.random.normal(jax.random.key(0), (16, *CIFAR))
    classifier = network_classifier("resnet20", architecture, params, CIFAR, 10, plain(CIFAR))
    classify = jax.jit(classifier.logits, compiler_options=users_options)
    learn = jax.jit(training_logits(architecture, CIFAR, 10, plain(CIFAR)))
    others = jnp.concatenate([images[:8], images[8:][::-1] + 1])
    assert np.array_equal(classify(params, images)[:8], classify(params, others)[:8])  # not of its neighbours
    np.testing.assert_allclose(classify(params, images)[:8], classify(params, images[:8]), rtol=1e-5, atol=1e-5)
    assert not np.allclose(learn(params, images)[0][:8], learn(params, images[:8])[0], rtol=1e-3)

    before, after = leaves(params), leaves(learn(params, images)[1])
    learnt = leaves(trainable(architecture, CIFAR, 10))
    assert {path for path in before if np.any(before[path] != after[path])} == {
        path for path in before if not learnt[path]
    }
    for _ in range(60):  # 0.9⁶⁰ < 0.002 of the initial statistics are left
        params = learn(params, images)[1]
    np.testing.assert_allclose(classify(params, images), learn(params, images)[0], atol=0.05)


@pytest.mark.parametrize(
    ("name", "image_shape", "message"),
    [
        ("vit-tiny-16", GRAY, r"divisible by 16 for a ViT-16, got \(28, 28, 1\)"),
        ("vit-tiny-16", (16, 20, 3), r"divisible by 16 for a ViT-16, got \(16, 20, 3\)"),
        ("vgg16", (128, 128, 3), r"below 64 or in 224\.\.255 for VGG-16, got \(128, 128, 3\)"),
        ("vgg16-bn", (32, 224, 3), r"below 64 or in 224\.\.255 for VGG-16, got \(32, 224, 3\)"),
    ],
)
def test_image_shapes_that_do_not_fit(name, image_shape, message):
    with pytest.raises(ValueError, match=f"image_shape must have sides {message}"):
        template(ARCHITECTURES[name], image_shape, 10)


def plain(image_shape):
    channels = image_shape[-1]
    return Normalization((0.0,) * channels, (1.0,) * channels)
