"""Handwritten digits: the 1797 scans of 8×8 pixels that come with scikit-learn."""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

IMAGE_SHAPE = (8, 8, 1)
NUM_CLASSES = 10


class Split(NamedTuple):
    """Labelled images: images (n, 8, 8, 1) float32 in [0, 1]; labels (n,) int32 in 0..9."""

    images: Float32[np.ndarray, "n 8 8 1"]
    labels: Int32[np.ndarray, " n"]


class Digits(NamedTuple):
    """The two parts of the data: `train` (1198 images) to fit on, `test` (599 images) to measure on."""

    train: Split
    test: Split


@cache
def load() -> Digits:
    """Read the digits as grey levels / 16; the held-out third is shuffled, stratified and always the same.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), as in
    scikit-learn.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = (np.asarray(pixels) / 16).astype(np.float32).reshape(-1, *IMAGE_SHAPE)
    rows = train_test_split(np.arange(len(images)), test_size=1 / 3, stratify=labels, random_state=0)
    train, test = (Split(images[part], np.asarray(labels[part], np.int32)) for part in map(np.asarray, rows))
    return Digits(train, test)
