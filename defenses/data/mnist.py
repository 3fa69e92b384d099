"""MNIST and Fashion-MNIST: four idx files each, 70,000 grey images of 28 × 28 pixels."""

from pathlib import Path

import numpy as np

from defenses.data.dataset import Bytes, Dataset, Split
from defenses.data.layout import Layout, contents, find, gunzipped, plain, require_published
from defenses.files import idx

IMAGE_SHAPE = (28, 28, 1)
DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

MNIST_PLACES = ("mnist", "MNIST/raw")
MNIST_FILES = Layout(
    MNIST_PLACES,
    {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    plain,
)
MNIST_DOWNLOADS = Layout(
    MNIST_PLACES,
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    gunzipped,
)
FASHION_PLACES = ("fashion_mnist", "FashionMNIST/raw")
FASHION_FILES = Layout(
    FASHION_PLACES,
    {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    plain,
)
FASHION_DOWNLOADS = Layout(
    FASHION_PLACES,
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    gunzipped,
)
MNIST = (MNIST_FILES, MNIST_DOWNLOADS)
FASHION = (FASHION_FILES, FASHION_DOWNLOADS)


def read_mnist(folder: Path) -> Dataset:
    """MNIST from the data folder: 60,000 images to fit on, 10,000 held out, (28, 28, 1) grey, in the files' order.

    The folder holds mnist/ or MNIST/raw/ with the four files, compressed or not. Raises ValueError that names a
    file that is missing or does not hold the published bytes, with their sha256.
    Source: Y. LeCun, C. Cortes and C. Burges (1998).
    """
    return _read("mnist", MNIST, DIGITS, folder)


def read_fashion_mnist(folder: Path) -> Dataset:
    """Fashion-MNIST from fashion_mnist/ or FashionMNIST/raw/; otherwise like `read_mnist`.

    Source: H. Xiao, K. Rasul and R. Vollgraf, arXiv 1708.07747.
    """
    return _read("fashion-mnist", FASHION, CLOTHES, folder)


def _read(name: str, layouts: tuple[Layout, ...], classes: tuple[str, ...], folder: Path) -> Dataset:
    found = find(folder, layouts)
    if found.missing:
        raise ValueError(f"{found.folder / found.missing[0]} is missing")
    published, _ = layouts
    arrays = {}
    for file in contents(found):
        require_published(file.content, published.sha256[file.name], str(file))
        arrays[file.name] = idx.parse(file.content, str(file))
    return Dataset(name, IMAGE_SHAPE, classes, _split(arrays, "train"), _split(arrays, "t10k"))


def _split(arrays: dict[str, np.ndarray], part: str) -> Split:
    images, labels = arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"]
    return Split(Bytes(images[..., None]), labels.astype(np.int32))
