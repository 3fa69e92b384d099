import numpy as np

from defenses.data import digits


def test_shapes_dtypes_and_range():
    train, test = digits.load().train, digits.load().test
    assert train is not None
    assert train.images.shape == (1198, 8, 8, 1)
    assert test.images.shape == (599, 8, 8, 1)
    for split in (train, test):
        images = split.images[:]
        assert images.dtype == np.float32
        assert split.labels.dtype == np.int32
        assert images.min() == 0
        assert images.max() == 1


def test_split_is_a_stratified_partition_of_the_original_scans():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    train, test = digits.load().train, digits.load().test
    assert train is not None
    rows = np.concatenate([train.images[:], test.images[:]]).reshape(-1, 64) * 16
    targets = np.concatenate([train.labels, test.labels])

    def as_sorted(pixels, labels):
        return sorted(map(tuple, np.column_stack([labels, pixels]).astype(int)))

    assert as_sorted(rows, targets) == as_sorted(pixels, labels)
    shares = np.bincount(test.labels) / np.bincount(targets)
    assert np.abs(shares - 1 / 3).max() < 0.01
