"""Images and labels as a caller hands them over: made NumPy arrays, or refused in one line that says what to change.

They may come as anything that NumPy takes for an array, PyTorch's tensors among it.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

MOST_CHANNELS = 4


def as_images(images: Any) -> Float32[np.ndarray, "n h w c"]:
    """The images as float32; ValueError where there are none, or not four axes with the channels last."""
    found = as_array("images", images, np.float32)
    check_image_axes(found.shape)
    return found


def check_image_axes(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless at least one image (n, h, w, c), the channels last, can have that shape.

    Channels are taken to come first where the second axis is as short as channels are and the two after it are longer.
    """
    got = f"images must be (n, h, w, c), at least one, got {shape}"
    if len(shape) == 3 and shape[-1] <= MOST_CHANNELS:
        raise ValueError(f"{got}: a single image? images[None] gives {(1, *shape)}")
    if len(shape) == 3:
        raise ValueError(f"{got}: greyscale? images[..., None] gives {(*shape, 1)}")
    if len(shape) != 4 or 0 in shape:
        raise ValueError(got)
    n, c, h, w = shape
    if c <= MOST_CHANNELS < min(h, w):
        raise ValueError(f"{got}: channels first? numpy.moveaxis(images, 1, -1) gives {(n, h, w, c)}")


def check_pixels(images: Float32[np.ndarray, "n h w c"]) -> None:
    """Raise ValueError unless every pixel is finite and in [0, 1]."""
    if not np.isfinite(images).all():
        first = int(np.argmin(np.isfinite(images).all(axis=(1, 2, 3))))
        raise ValueError(f"images must be finite, image {first} is not")
    if images.min() < 0 or images.max() > 1:
        raise ValueError(f"images must be in [0, 1], got values from {images.min():g} to {images.max():g}")


def as_labels(labels: Any, images: int) -> Int64[np.ndarray, " n"]:
    """The labels of so many images, one class index each; ValueError for another shape, floats, or one below zero."""
    found = as_array("labels", labels)
    if found.shape != (images,):
        one_hot = ": one-hot? take argmax(axis=1)" if found.ndim == 2 and found.shape[1] > 1 else ""
        wanted = f"one entry per image, ({images},) class indices"
        raise ValueError(f"labels must have {wanted}, got {found.shape}{one_hot}")
    if found.dtype.kind not in "iub":
        raise ValueError(f"labels must be integers, got {found.dtype}")
    if found.min() < 0:
        raise ValueError(f"labels must be >= 0, got {found.min()}")
    return found.astype(np.int64)


def as_array(name: str, given: Any, dtype: Any = None) -> np.ndarray:
    """What was given under that name as an array; ValueError where NumPy cannot make one of it.

    A tensor that follows gradients, or lies on another device, is refused in PyTorch's words.
    """
    try:
        return np.asarray(given, dtype)
    except Exception as error:  # of any kind that the object's own conversion raises
        kind = type(given)
        raise ValueError(f"{name} must be an array, got {kind.__module__}.{kind.__name__}: {error}") from error
