"""Handwritten digits: the 1797 scans of 8×8 pixels that come with scikit-learn."""

from functools import cache

import numpy as np

from defenses.data.dataset import Dataset, Split

IMAGE_SHAPE = (8, 8, 1)
NUM_CLASSES = 10


@cache
def load() -> Dataset:
    """Read the digits as grey levels / 16: 1198 images to fit on, 599 held out, shuffled, stratified, always the same.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), as in
    scikit-learn.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = (np.asarray(pixels) / 16).astype(np.float32).reshape(-1, *IMAGE_SHAPE)
    rows = train_test_split(np.arange(len(images)), test_size=1 / 3, stratify=labels, random_state=0)
    train, test = (Split(images[part], np.asarray(labels[part], np.int32)) for part in map(np.asarray, rows))
    return Dataset("digits", IMAGE_SHAPE, tuple("0123456789"), train, test)
