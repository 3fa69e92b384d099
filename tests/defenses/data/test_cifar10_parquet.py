"""CIFAR-10 as Hugging Face keeps it: parquet files with PNG pictures, one of all five batches and one of the test's."""

import builtins
import io
import re

import numpy as np
import pytest
from PIL import Image

from defenses.commands.fetching import fetch
from defenses.data import cifar10
from defenses.data.dataset import Bytes
from defenses.data.sources import load
from tests.defenses.data.test_cifar10 import ROWS, drawn, publish_drawn, records
from tests.paths import DATA

TRAIN, TEST = cifar10.PARQUET.sha256
SHUFFLED = (3, 2, 1, 4, 0)  # the archive's order of batches, which Hugging Face has


def png(image, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return {"bytes": stream.getvalue(), "path": None}


def write(path, images, labels, **columns):
    pa = pytest.importorskip("pyarrow", reason="needs the extra [parquet]")
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"img": list(map(png, images)), "label": labels.astype(np.int64)} | columns)
    parquet.write_table(table, path)


def written(folder, order=SHUFFLED):
    """The small CIFAR-10 of these tests as two parquet files."""
    images, labels = zip(*(drawn(cifar10.BATCHES[number]) for number in order), strict=True)
    write(folder / TRAIN, np.concatenate(images), np.concatenate(labels))
    write(folder / TEST, *drawn("test_batch"))


@pytest.fixture(autouse=True)
def small(monkeypatch, request):
    """Batches of a few drawn images count as the published ones."""
    if "real" not in request.node.name:
        publish_drawn(monkeypatch)


@pytest.mark.parametrize("place", cifar10.PARQUET.folders)
def test_the_batches_come_in_the_published_order(tmp_path, place):
    written(tmp_path / place)
    dataset = cifar10.read(tmp_path)
    assert dataset.train is not None
    images, labels = (np.concatenate(parts) for parts in zip(*map(drawn, cifar10.BATCHES), strict=True))
    for split, rows in ((dataset.train, slice(0, 5 * ROWS)), (dataset.test, slice(5 * ROWS, None))):
        np.testing.assert_array_equal(split.images[:], images[rows].astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(split.labels, labels[rows])


def test_fetch_takes_them_into_the_published_layout(tmp_path):
    written(tmp_path / "given/plain_text")
    fetch("cifar10", tmp_path / "data", tmp_path / "given")
    for batch in cifar10.BATCHES:
        assert (tmp_path / "data/cifar-10-batches-bin" / f"{batch}.bin").read_bytes() == records(batch)


@pytest.mark.parametrize("what", ["pixel", "label", "order", "short"])
def test_other_content_is_named(tmp_path, what):
    written(tmp_path / "cifar10")
    images, labels = drawn("test_batch")
    if what == "pixel":
        images[1, 2, 3, 0] ^= 1
    elif what == "label":
        labels[2] = (labels[2] + 1) % 10
    elif what == "order":
        images, labels = images[::-1], labels[::-1]
    keep = ROWS - 1 if what == "short" else ROWS
    write(tmp_path / "cifar10" / TEST, images[:keep], labels[:keep])
    message = f"{TEST} must hold the published batches in their order of rows, rows 0..{keep - 1} are another"
    with pytest.raises(ValueError, match=re.escape(message)):
        cifar10.read(tmp_path)


def test_a_jpeg_copy_and_other_columns_are_named(tmp_path):
    images, labels = drawn("test_batch")
    path = tmp_path / TEST
    for columns in ({"img": [png(image, "JPEG") for image in images]}, {"img": list(map(png, images[:, :30]))}):
        write(path, images, labels, **columns)
        with pytest.raises(
            ValueError, match=rf"^{path} must be a parquet file with PNG pictures of shape \(32, 32, 3\)"
        ):
            list(cifar10.parquet_records(path))
    write(path, images, labels - 1 if labels.min() else labels.astype(np.int64) + 256)
    for content in (path.read_bytes(), path.read_bytes()[:-9], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{path} must "):
            list(cifar10.parquet_records(path))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    for name in (TRAIN, TEST):
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        (tmp_path / "cifar10" / name).touch()
    importing = builtins.__import__

    def missing(name, *rest):
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    extra = "is read through pyarrow, which is not here: `pip install -e '.[parquet]'` installs it"
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}/cifar10/{TRAIN} {extra}')}"):
        load("cifar10", tmp_path)


def pixels(split):
    assert isinstance(split.images, Bytes)
    return split.images.pixels


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar-10-batches-bin").is_dir(), reason="CIFAR-10 is not in data/")
def test_real_images_are_the_published_ones(tmp_path):
    known = cifar10.read(DATA)
    assert known.train is not None
    order = np.concatenate([np.arange(10000) + 10000 * number for number in SHUFFLED])
    for name, split, rows in ((TRAIN, known.train, order), (TEST, known.test, np.arange(10000))):
        write(tmp_path / "cifar10" / name, pixels(split)[rows], split.labels[rows])
    found = cifar10.read(tmp_path)
    assert found.train is not None
    for split, other in ((found.train, known.train), (found.test, known.test)):
        np.testing.assert_array_equal(pixels(split), pixels(other))
        np.testing.assert_array_equal(split.labels, other.labels)
