"""Images and labels from a caller: what NumPy takes works, and what is misunderstood gets one line with the cure."""

import numpy as np
import pytest

from defenses.data.inputs import as_images, as_labels, check_pixels

IMAGES = np.random.default_rng(0).uniform(size=(5, 8, 7, 3)).astype(np.float32)
LABELS = np.arange(5)
WRONG_AXES = {
    "channels first": (np.moveaxis(IMAGES, -1, 1), r"got \(5, 3, 8, 7\): channels first\? .* gives \(5, 8, 7, 3\)"),
    "one channel first": (np.zeros((2, 1, 28, 28)), r"channels first\? .* gives \(2, 28, 28, 1\)"),
    "greyscale": (IMAGES[..., 0], r"got \(5, 8, 7\): greyscale\? .* gives \(5, 8, 7, 1\)"),
    "a single image": (IMAGES[0], r"got \(8, 7, 3\): a single image\? .* gives \(1, 8, 7, 3\)"),
    "flat": (IMAGES.reshape(5, -1), r"must be \(n, h, w, c\), at least one, got \(5, 168\)$"),
    "none": (IMAGES[:0], r"at least one, got \(0, 8, 7, 3\)$"),
    "of two sizes": ([np.zeros((2, 2, 1)), np.zeros((3, 3, 1))], "images must be an array, got builtins.list"),
}
WRONG_LABELS = {
    "one-hot": (np.eye(3, dtype=int)[[0, 1, 2, 0, 1]], r"\(5,\) class indices, got \(5, 3\): one-hot\? take argmax"),
    "a column": (LABELS[:, None], r"\(5,\) class indices, got \(5, 1\)$"),
    "too few": (LABELS[1:], r"one entry per image, \(5,\) class indices, got \(4,\)$"),
    "floats": (LABELS + 0.0, "labels must be integers, got float64"),
    "below zero": (LABELS - 1, "labels must be >= 0, got -1"),
}


class Tensor:
    """What PyTorch's tensors are to NumPy; one that follows gradients refuses."""

    def __init__(self, values, requires_grad=False):
        self.values, self.requires_grad = values, requires_grad

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize(("images", "message"), WRONG_AXES.values(), ids=WRONG_AXES.keys())
def test_images_with_other_axes_are_refused_with_the_cure(images, message):
    with pytest.raises(ValueError, match=message):
        as_images(images)


@pytest.mark.parametrize(("labels", "message"), WRONG_LABELS.values(), ids=WRONG_LABELS.keys())
def test_labels_that_are_no_classes_are_refused_with_the_cure(labels, message):
    with pytest.raises(ValueError, match=message):
        as_labels(labels, 5)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (2, 8, 8, 1), (1, 1, 1, 1), (2, 3, 3, 8), (2, 4, 4, 4), (2, 1, 9, 1)])
def test_honest_images_are_taken_as_they_are(shape):
    """However small they are, or how many channels they have."""
    images = np.zeros(shape, np.float32)
    assert as_images(images) is images


def test_what_numpy_takes_for_an_array_works():
    for images in (IMAGES.tolist(), Tensor(IMAGES), IMAGES.astype(np.float64)):
        assert np.array_equal(as_images(images), IMAGES)
        assert as_images(images).dtype == np.float32
    for labels in (LABELS.tolist(), Tensor(LABELS), LABELS.astype(np.uint8)):
        assert np.array_equal(as_labels(labels, 5), LABELS)
    with pytest.raises(ValueError, match=r"images must be an array, got .*Tensor: .*requires grad"):
        as_images(Tensor(IMAGES, requires_grad=True))


def test_tensors_of_pytorch_are_such_arrays():
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    assert np.array_equal(as_images(torch.from_numpy(IMAGES)), IMAGES)
    assert np.array_equal(as_labels(torch.arange(5), 5), LABELS)
    with pytest.raises(ValueError, match=r"images must be an array, got torch.Tensor: .*requires grad"):
        as_images(torch.from_numpy(IMAGES).requires_grad_())


def test_pixels_are_finite_and_in_the_box():
    check_pixels(IMAGES)
    with pytest.raises(ValueError, match=r"images must be in \[0, 1\], got values from .* to 2"):
        check_pixels(np.where(np.arange(3) == 1, np.float32(2), IMAGES))
    with pytest.raises(ValueError, match="images must be finite, image 3 is not"):
        check_pixels(np.where(np.arange(5)[:, None, None, None] == 3, np.float32(np.nan), IMAGES))
