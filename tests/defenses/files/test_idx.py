import gzip
import hashlib
import struct

import numpy as np
import pytest

from defenses.data import mnist
from defenses.files import idx
from tests.paths import DATA

COUNTS = {"train": 12, "t10k": 5}


def packed(array):
    """The bytes of an idx file of unsigned bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def drawn(part):
    """Images (n, 28, 28) and labels (n,) of a part, uint8, no two images alike."""
    generator = np.random.default_rng(len(part))
    images = generator.integers(0, 256, (COUNTS[part], 28, 28), np.uint8)
    return images, (np.arange(COUNTS[part]) % 10).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with a small MNIST in plain files, which counts as the published one and as Fashion-MNIST."""
    (tmp_path / "mnist").mkdir()
    for part in COUNTS:
        for name, array in zip(("images-idx3", "labels-idx1"), drawn(part), strict=True):
            file, content = f"{part}-{name}-ubyte", packed(array)
            (tmp_path / "mnist" / file).write_bytes(content)
            for layout in (mnist.MNIST_FILES, mnist.FASHION_FILES):
                monkeypatch.setitem(layout.sha256, file, hashlib.sha256(content).hexdigest())
    return tmp_path


def compress(folder):
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def assert_is_the_drawn_one(dataset):
    for split, part in ((dataset.train, "train"), (dataset.test, "t10k")):
        images, labels = drawn(part)
        assert split.images.shape == (COUNTS[part], 28, 28, 1)
        assert split.images[:].dtype == np.float32
        assert split.labels.dtype == np.int32
        np.testing.assert_array_equal(np.round(split.images[:] * 255), images[..., None])
        np.testing.assert_array_equal(split.images[[3, 1]], split.images[:][[3, 1]])
        np.testing.assert_array_equal(split.labels, labels)


def test_idx_keeps_order_and_dimensions():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(idx.parse(packed(array), "file"), array)


@pytest.mark.parametrize("place", ["mnist", "MNIST/raw"])
@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_in_every_layout(folder, place, compressed):
    if place != "mnist":
        (folder / place).parent.mkdir()
        (folder / "mnist").rename(folder / place)
    if compressed:
        compress(folder / place)
    dataset = mnist.read_mnist(folder)
    assert_is_the_drawn_one(dataset)
    assert (dataset.name, dataset.classes, dataset.image_shape) == ("mnist", tuple("0123456789"), (28, 28, 1))


def test_fashion_mnist_has_a_folder_and_classes_of_its_own(folder):
    (folder / "mnist").rename(folder / "fashion_mnist")
    dataset = mnist.read_fashion_mnist(folder)
    assert_is_the_drawn_one(dataset)
    assert dataset.classes[9] == "ankle boot"
    with pytest.raises(ValueError, match="mnist/train-images-idx3-ubyte is missing"):
        mnist.read_mnist(folder)


IMAGES, LABELS = packed(drawn("t10k")[0]), packed(drawn("t10k")[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGES[:-1], "must have 3936 bytes for shape .*, it has 3935"),
        (IMAGES + b"x", "must have 3936 bytes for shape .*, it has 3937"),
        (IMAGES[:9], "must hold 3 dimensions in its first 16 bytes, it has 9"),
        (b"", "must be an idx file of unsigned bytes"),
        (b"\x80\x02" + IMAGES[2:], "must be an idx file of unsigned bytes"),
        (b"\0\0\x0d" + IMAGES[3:], "must be an idx file of unsigned bytes"),
    ],
)
def test_what_is_no_idx_file_is_named(content, message):
    with pytest.raises(ValueError, match=f"^file {message}"):
        idx.parse(content, "file")


@pytest.mark.parametrize("read", [mnist.read_mnist, mnist.read_fashion_mnist])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t10k-images-idx3-ubyte", IMAGES[:-1]),
        ("t10k-images-idx3-ubyte", b""),
        ("t10k-images-idx3-ubyte", LABELS),
        ("t10k-labels-idx1-ubyte", packed(np.zeros(5, np.uint8))),
        ("train-labels-idx1-ubyte", packed(drawn("train")[1][::-1])),
    ],
)
def test_a_file_that_is_not_the_published_one_is_named(folder, name, content, compressed, read):
    (folder / "mnist" / name).write_bytes(content)
    home = folder / ("mnist" if read is mnist.read_mnist else "fashion_mnist")
    (folder / "mnist").rename(home)
    if compressed:
        compress(home)
    title = f"{name} in {home / name}.gz" if compressed else f"{home / name}"
    message = f"^{title} must have sha256 {mnist.MNIST_FILES.sha256[name]}, its {len(content)} bytes have another$"
    with pytest.raises(ValueError, match=message):
        read(folder)


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: c[:-4], lambda c: b"no gzip" + c])
def test_a_damaged_gzip_file_is_named(folder, damage):
    compress(folder / "mnist")
    path = folder / "mnist/train-labels-idx1-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte.gz must be a whole gzip file"):
        mnist.read_mnist(folder)


def test_a_missing_file_is_named(folder):
    (folder / "mnist/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="mnist/t10k-labels-idx1-ubyte is missing"):
        mnist.read_mnist(folder)


@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="MNIST is not in data/")
def test_real_mnist():
    dataset = mnist.read_mnist(DATA)
    train, test = dataset.train, dataset.test
    assert train is not None
    assert (len(train.images), len(test.images)) == (60000, 10000)
    np.testing.assert_array_equal(np.bincount(test.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    assert abs(float(train.images[:].mean()) - 0.1307) < 1e-4  # the mean that everybody normalises with
    assert list(train.labels[:5]) == [5, 0, 4, 1, 9]


@pytest.mark.skipif(not (DATA / "fashion_mnist").is_dir(), reason="Fashion-MNIST is not in data/")
def test_real_fashion_mnist():
    dataset = mnist.read_fashion_mnist(DATA)
    assert dataset.train is not None
    assert abs(float(dataset.train.images[:].mean()) - 0.2860) < 1e-4
    assert dataset.classes[dataset.test.labels[0]] == "ankle boot"
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), [1000] * 10)
