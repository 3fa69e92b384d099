"""CIFAR-10: 60,000 colour images of 32 × 32 pixels in six batches: published records, Python pickles, or parquet."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from defenses.data.dataset import Bytes, Dataset, Split
from defenses.data.layout import Contents, Layout, Unpacked, contents, find, members, plain, require_published
from defenses.files import numpy_pickle
from defenses.files.parquet import labelled_pictures

IMAGE_SHAPE = (32, 32, 3)
PIXELS = 3 * 32 * 32
PER_BATCH = 10000
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

RECORDS = Layout(
    ("cifar-10-batches-bin",),
    {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    plain,
)
PICKLES = Layout(
    ("cifar-10-batches-py",),
    {
        "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
        "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
        "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
        "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
        "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
        "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
    },
    plain,
)
RECORDS_ARCHIVE = Layout(
    (".",),
    {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    members(*RECORDS.sha256),
)
PICKLES_ARCHIVE = Layout(
    (".",),
    {"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
    members(*PICKLES.sha256),
)


def parquet_records(path: Path) -> Contents:
    """The batches in a parquet file, in any order, as the published records of which they hold labels and pixels.

    Raises ValueError as `labelled_pictures` does, and for rows that are no published batch.
    """
    images, labels = labelled_pictures(path, "img", "label", IMAGE_SHAPE)
    planes = images.transpose(0, 3, 1, 2).reshape(-1, PIXELS)
    names = {sha256: name for name, sha256 in RECORDS.sha256.items()}
    for start in range(0, len(labels), PER_BATCH):
        rows = slice(start, start + PER_BATCH)
        records = np.column_stack([labels[rows], planes[rows]]).tobytes()
        sha256 = hashlib.sha256(records).hexdigest()
        if sha256 not in names:
            which = f"rows {start}..{min(start + PER_BATCH, len(labels)) - 1}"
            raise ValueError(f"{path} must hold the published batches in their order of rows, {which} are another")
        yield names[sha256], records


PARQUET = Layout(  # by Hugging Face; no digests of the files are held, those of their labels and pixels are
    ("cifar10/plain_text", "cifar10/data", "cifar10", "plain_text", "data"),
    {"train-00000-of-00001.parquet": "", "test-00000-of-00001.parquet": ""},
    parquet_records,
)
LAYOUTS = (RECORDS, PICKLES, RECORDS_ARCHIVE, PICKLES_ARCHIVE, PARQUET)

Batch = tuple[UInt8[np.ndarray, "n h w c"], UInt8[np.ndarray, " n"]]


def read(folder: Path) -> Dataset:
    """CIFAR-10 from the data folder: 50,000 images to fit on, 10,000 held out, in the batches' order.

    The folder holds cifar-10-batches-bin/, cifar-10-batches-py/, one of the two archives, or the parquet files of
    Hugging Face. Raises ValueError that names a file that is missing, or whose images and labels, as binary records,
    have not the published sha256: so batches that were pickled again, or packed as PNG, are read too. Nothing in a
    pickle is run. Source: A. Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    found = find(folder, LAYOUTS)
    if found.missing:
        raise ValueError(f"{found.folder / found.missing[0]} is missing")
    batches = dict(map(_batch, contents(found)))
    absent = [batch for batch in BATCHES if batch not in batches]
    if absent:
        raise ValueError(f"{found.present[0]} must hold {', '.join(BATCHES)}, it lacks {absent[0]}")
    train = [batches.pop(name) for name in BATCHES[:-1]]
    return Dataset("cifar10", IMAGE_SHAPE, CLASSES, _split(train), _split([batches["test_batch"]]))


def unpickled(content: bytes) -> bytes:
    """The records of a batch that is a Python pickle: 10,000 times a label byte, then red, green and blue planes.

    content: of protocol 2 to 4, by Python 2 or 3, with `data` (10000, 3072) uint8 and `labels`; read without running
        anything. Raises ValueError when it holds anything else or asks for any other global.
    """
    batch = numpy_pickle.load(content)
    data, labels = (_item(batch, key) for key in ("data", "labels"))
    if not isinstance(data, numpy_pickle.Array) or data.shape != (PER_BATCH, PIXELS):
        raise ValueError(f"must hold `data` of shape {(PER_BATCH, PIXELS)}")
    if not isinstance(labels, list) or len(labels) != PER_BATCH or not all(map(_is_label, labels)):
        raise ValueError(f"must hold `labels`, a list of {PER_BATCH} integers 0..9")
    return np.column_stack([np.asarray(labels, np.uint8), data.values()]).tobytes()


def _batch(file: Unpacked) -> tuple[str, Batch]:
    """The name of a batch, and its images and labels."""
    name, title, records = file.name.removesuffix(".bin"), str(file), file.content
    if name == file.name:
        try:
            title, records = f"{file}, as binary records,", unpickled(file.content)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
    require_published(records, RECORDS.sha256[f"{name}.bin"], title)
    rows = np.frombuffer(records, np.uint8).reshape(-1, 1 + PIXELS)
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return name, (np.ascontiguousarray(images), rows[:, 0].copy())


def _item(batch: object, key: str) -> object:
    """An item of a dictionary, None without; Python 3 may have written the key as bytes."""
    return batch.get(key, batch.get(key.encode())) if isinstance(batch, dict) else None


def _is_label(label: object) -> bool:
    return type(label) is int and 0 <= label <= 9


def _split(batches: list[Batch]) -> Split:
    images, labels = zip(*batches, strict=True)
    return Split(Bytes(np.concatenate(images)), np.concatenate(labels).astype(np.int32))
