import hashlib
import io
import pickle
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from defenses.data import cifar10
from defenses.data.dataset import Bytes
from tests.paths import DATA

ROWS = 4


def drawn(batch):
    """Images (ROWS, 32, 32, 3) and labels (ROWS,) of a batch, uint8."""
    number = cifar10.BATCHES.index(batch)
    images = np.random.default_rng(number).integers(0, 256, (ROWS, 32, 32, 3), np.uint8)
    return images, ((np.arange(ROWS) + number) % 10).astype(np.uint8)


def records(batch):
    images, labels = drawn(batch)
    rows = zip(labels, images.transpose(0, 3, 1, 2), strict=True)
    return b"".join(bytes([label]) + planes.tobytes() for label, planes in rows)


def string(text):
    """A string as Python 2 pickled it."""
    return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text


def pickled_array(content, shape, code=b"u1", state=b"NNN"):
    """A uint8 array as numpy pickled it under Python 2."""
    shape_tuple = b"(" + b"".join(b"J" + struct.pack("<i", side) for side in shape) + b"t"
    dtype = b"cnumpy\ndtype\n" + string(code) + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + string(b"|") + state + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
    return array + b"(K\x01" + shape_tuple + dtype + b"\x89" + string(content) + b"tb"


def pickled(batch, **array):
    """A batch as the python version of CIFAR-10 holds it: protocol 2, strings of Python 2."""
    images, labels = drawn(batch)
    content = images.transpose(0, 3, 1, 2).tobytes()
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    data = pickled_array(**{"content": content, "shape": (ROWS, 3072), **array})
    items = string(b"batch_label") + string(b"a batch") + string(b"labels") + labels + string(b"data") + data
    return b"\x80\x02}(" + items + b"u."


def written(folder, layout):
    """Write the small CIFAR-10 in one of its layouts."""
    suffix, content = (".bin", records) if "bin" in layout else ("", pickled)
    home = folder / ("cifar-10-batches-bin" if suffix else "cifar-10-batches-py")
    home.mkdir()
    for batch in cifar10.BATCHES:
        (home / f"{batch}{suffix}").write_bytes(content(batch))
    if layout.endswith(".tar.gz"):
        with tarfile.open(folder / layout, "w:gz") as archive:
            archive.add(home, home.name)
        shutil.rmtree(home)


LAYOUTS = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")


@pytest.fixture(autouse=True)
def small(monkeypatch, request):
    """Batches of a few drawn images count as the published ones."""
    if "real" not in request.node.name:
        publish_drawn(monkeypatch)


def publish_drawn(monkeypatch):
    monkeypatch.setattr(cifar10, "PER_BATCH", ROWS)
    for batch in cifar10.BATCHES:
        sha256 = hashlib.sha256(records(batch)).hexdigest()
        monkeypatch.setitem(cifar10.RECORDS.sha256, f"{batch}.bin", sha256)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images(tmp_path, layout):
    written(tmp_path, layout)
    dataset = cifar10.read(tmp_path)
    assert dataset.train is not None
    images, labels = (np.concatenate(parts) for parts in zip(*map(drawn, cifar10.BATCHES), strict=True))
    for split, rows in ((dataset.train, slice(0, 5 * ROWS)), (dataset.test, slice(5 * ROWS, None))):
        np.testing.assert_array_equal(split.images[:], images[rows].astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(split.labels, labels[rows])
        assert split.labels.dtype == np.int32
    assert dataset.classes[3] == "cat"
    assert dataset.image_shape == (32, 32, 3)


def test_the_pickles_of_these_tests_are_what_python_reads_as_arrays():
    batch = pickle.loads(pickled("test_batch"), encoding="latin1")
    assert batch["data"].dtype == np.uint8
    assert batch["data"].shape == (ROWS, 3072)
    assert batch["labels"] == drawn("test_batch")[1].tolist()


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("key", [str, str.encode])
def test_batches_written_again_by_this_python_are_read(protocol, key):
    images, labels = drawn("test_batch")
    data = images.transpose(0, 3, 1, 2).reshape(ROWS, 3072)
    content = pickle.dumps({key("data"): data, key("labels"): labels.tolist()}, protocol)
    assert cifar10.unpickled(content) == records("test_batch")


def replaced(folder, layout, content):
    written(folder, layout)
    (path,) = (folder / layout).glob("data_batch_2*")
    path.write_bytes(content)


def published(batch):
    return f"must have sha256 {hashlib.sha256(records(batch)).hexdigest()}, its"


@pytest.mark.parametrize(
    "content",
    [
        records("data_batch_2")[:-1],
        records("data_batch_2") + b"x",
        b"",
        b"\x02" + records("data_batch_2")[1:],
        records("data_batch_2")[:-1] + b"x",
        records("data_batch_1"),
    ],
)
def test_records_that_are_not_the_published_ones_are_named(tmp_path, content):
    replaced(tmp_path, "cifar-10-batches-bin", content)
    message = f"cifar-10-batches-bin/data_batch_2.bin {published('data_batch_2')} {len(content)} bytes have another$"
    with pytest.raises(ValueError, match=message):
        cifar10.read(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_swapped_batches_are_refused_in_every_layout(tmp_path, layout):
    written(tmp_path, layout.replace("-binary.tar.gz", "-batches-bin").replace("-python.tar.gz", "-batches-py"))
    (home,) = tmp_path.iterdir()
    one, other = sorted(home.iterdir())[1:3]
    one.rename(home / "aside")
    other.rename(one)
    (home / "aside").rename(other)
    title = str(one)
    if layout.endswith(".tar.gz"):
        with tarfile.open(tmp_path / layout, "w:gz") as archive:
            archive.add(home, home.name)
        shutil.rmtree(home)
        title = f"{one.name} in {tmp_path / layout}"
    as_records = "" if "bin" in layout else ", as binary records,"
    with pytest.raises(ValueError, match=f"^{title}{as_records} {published('data_batch_2')} 12292 bytes have another$"):
        cifar10.read(tmp_path)


def test_altered_labels_or_pixels_of_a_pickle_are_refused(tmp_path):
    for content in (pickled(BATCH).replace(b"](K\x01", b"](K\x02"), pickled(BATCH, content=bytes(ROWS * 3072))):
        (tmp_path / str(len(list(tmp_path.iterdir())))).mkdir()
        folder = sorted(tmp_path.iterdir())[-1]
        replaced(folder, "cifar-10-batches-py", content)
        with pytest.raises(ValueError, match=rf"data_batch_2, as binary records, {published(BATCH)} 12292 bytes"):
            cifar10.read(folder)


class Malicious:
    """A pickle that would leave a file behind when it runs."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_runs_nothing(tmp_path, protocol):
    mark = tmp_path / "executed"
    content = pickle.dumps({"data": Malicious(mark), "labels": []}, protocol)
    pickle.loads(content)
    assert mark.exists(), "this pickle must be able to run something where nothing stops it"
    mark.unlink()
    replaced(tmp_path, "cifar-10-batches-py", content)
    with pytest.raises(ValueError, match=r"data_batch_2: refuses .*: only tensors and plain containers are read"):
        cifar10.read(tmp_path)
    assert not mark.exists()


BATCH = "data_batch_2"
LONG = pickle.dumps(10**5000, 2)[2:-1]  # an integer that can't be printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickled(BATCH)[:-1], "holds no whole pickle"),
        (pickled(BATCH)[: 3 * 3072], "holds no whole pickle"),
        (b"", "holds no whole pickle"),
        (b"\x80\x02cos\nsystem\n.", "refuses os.system: only tensors and plain containers are read"),
        (b"\x80\x02c_codecs\nencode\nK\x01\x85R.", "bytes must be encoded from a string, got int"),
        (b"\x80\x02cnumpy\nload\n.", "refuses numpy.load: only"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "refuses the pickle opcode NEWOBJ"),
        (b"\x80\x02cnumpy\ndtype\nN}U\x09_functionK\x01s\x86b.", "holds a pickle that gives a state to what has none"),
        (b"\x80\x02K\x01Q.", "holds a pickle with a persistent id, where none is allowed"),
        (pickled(BATCH, code=b"O8"), "arrays must be of unsigned bytes .u1., got 'O8'"),
        (pickled(BATCH, code=b"f8"), "arrays must be of unsigned bytes .u1., got 'f8'"),
        (pickled(BATCH, state=b"}NN"), "arrays must be of plain unsigned bytes"),
        (pickled(BATCH, content=b"short"), "arrays must have two dimensions and as many bytes"),
        (pickled(BATCH, shape=(ROWS * 3072,)), "arrays must have two dimensions"),
        (pickled(BATCH, shape=(-ROWS, -3072)), r"must hold `data` of shape \(4, 3072\)"),
        (pickled(BATCH, shape=(3072, ROWS)), r"must hold `data` of shape \(4, 3072\)"),
        (b"\x80\x02].", r"must hold `data` of shape \(4, 3072\)"),
        (pickled(BATCH).replace(b"labels", b"labelz"), "must hold `labels`, a list of 4 integers 0..9"),
        (pickled(BATCH).replace(b"](K\x01", b"](N"), "must hold `labels`, a list of 4 integers"),
        (pickled(BATCH).replace(b"](K\x01", b"](" + LONG), "must hold `labels`, a list of 4 integers"),
        (pickled(BATCH).replace(b"](K\x01", b"](K\xc8"), "must hold `labels`, a list of 4 integers"),
        (pickled(BATCH).replace(b"](K\x01", b"](J\xff\xff\xff\xff"), "must hold `labels`, a list of 4 integers"),
    ],
)
def test_damaged_or_foreign_pickles_are_named(tmp_path, content, message):
    replaced(tmp_path, "cifar-10-batches-py", content)
    with pytest.raises(ValueError, match=rf"cifar-10-batches-py/data_batch_2:? {message}"):
        cifar10.read(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS[2:])
@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"no archive", lambda c: b""])
def test_a_damaged_archive_is_named(tmp_path, layout, damage):
    written(tmp_path, layout)
    path = tmp_path / layout
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{layout} must (be a whole .tar.gz archive|hold data_batch_1, )"):
        cifar10.read(tmp_path)


def test_an_archive_of_something_else_is_named(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("cifar-100-binary/train.bin"), io.BytesIO())
        link = tarfile.TarInfo("data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz must hold data_batch_1, .*, it lacks data_batch_1"):
        cifar10.read(tmp_path)


def test_a_missing_batch_is_named(tmp_path):
    written(tmp_path, "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py/test_batch").unlink()
    with pytest.raises(ValueError, match="cifar-10-batches-py/test_batch is missing"):
        cifar10.read(tmp_path)


def test_a_whole_layout_goes_before_a_part_of_another(tmp_path):
    written(tmp_path, "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-bin/test_batch.bin").unlink()
    written(tmp_path, "cifar-10-batches-py")
    assert len(cifar10.read(tmp_path).test.images) == ROWS


@pytest.mark.skipif(not (DATA / "cifar-10-batches-bin").is_dir(), reason="CIFAR-10 is not in data/")
def test_real_images():
    dataset = cifar10.read(DATA)
    train, test = dataset.train, dataset.test
    assert train is not None
    assert isinstance(train.images, Bytes)
    np.testing.assert_array_equal(np.bincount(train.labels), [5000] * 10)
    np.testing.assert_array_equal(np.bincount(test.labels), [1000] * 10)
    means = train.images.pixels.reshape(-1, 3).mean(axis=0, dtype=np.float64) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=1e-4)  # as everybody normalises with
    assert [dataset.classes[label] for label in test.labels[:4]] == ["cat", "ship", "ship", "airplane"]
    neighbours = np.abs(np.diff(test.images[:500], axis=2)).mean(), np.abs(np.diff(test.images[:500], axis=3)).mean()
    assert neighbours[0] < neighbours[1] < 0.1  # rows, columns and channels are where they belong
