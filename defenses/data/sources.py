"""The table of data sets: what each is, where it comes from, how it is read, and what of it is here."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from defenses.data import cifar10, digits, imagenet, mnist
from defenses.data.dataset import Dataset
from defenses.data.labelled import pictures
from defenses.data.layout import Layout, find, is_published
from defenses.data.picture_folder import first_shape, in_turn, picture_folder
from defenses.files.resize import Resize, resize_of


class Presence(NamedTuple):
    """What of a data set lies in a folder.

    state: "altered" where a file is there whose sha256 is not the published one.
    train, test: numbers of images that can be read. missing, altered: names of files, in the fullest layout.
    """

    state: Literal["complete", "partial", "altered", "absent"]
    train: int = 0
    test: int = 0
    missing: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()


class Download(NamedTuple):
    """A layout and the addresses (ending in /) under which its files are served, the official one first."""

    layout: Layout
    addresses: tuple[str, ...]


class Source(NamedTuple):
    """A data set: what it is in one line, whose it is, and how its files come here and are read.

    terms: source and licence. image_shape: (h, w, c) that a network takes, of picture files by default.
    layouts: the forms in which its files may lie in the data folder.
    download: None where files are not to be had without more ado.
    read: (data folder, resize for picture files) -> Dataset; ValueError names a file that is missing or not published.
    presence: data folder -> what of it is there; reads every file to check its sha256.
    """

    title: str
    terms: str
    image_shape: tuple[int, int, int]
    layouts: tuple[Layout, ...]
    download: Download | None
    read: Callable[[Path, Resize | None], Dataset]
    presence: Callable[[Path], Presence]


def own_folder(dataset: str, resize: str | None, classes: Path | None) -> None:
    """Make a user's folder of pictures one more row of the table, for this process, under its own path.

    dataset: nothing is done for a name that the table has. resize: as `resize_of` reads it; weights that bring their
    own resizing keep it. classes: as `picture_folder` takes it.
    Raises ValueError for an unknown name that is no folder, for options that are for folders alone, or a wrong folder.
    """
    if dataset in SOURCES:
        if resize is not None or classes is not None:
            given = "resize" if resize is not None else "classes"
            raise ValueError(f"{given} can be given for a FOLDER of your own, not for the dataset {dataset}")
        return
    if not Path(dataset).is_dir():
        raise ValueError(f"dataset must be one of {', '.join(SOURCES)}, or a FOLDER of pictures, got {dataset!r}")
    chosen, folder = None if resize is None else resize_of(resize), Path(dataset).absolute()
    shape = first_shape(folder) if chosen is None else (chosen.crop, chosen.crop, first_shape(folder)[-1])

    @cache
    def read(of_weights: Resize | None) -> Dataset:
        return in_turn(picture_folder(folder, of_weights or chosen, classes))._replace(name=dataset)

    OWN[dataset] = Source(
        f"pictures in {dataset}", "your own", shape, (), None, lambda _, of_weights: read(of_weights), _all_there
    )


def _all_there(_: Path) -> Presence:
    return Presence("complete")


def image_shape(dataset: str) -> tuple[int, int, int]:
    """(h, w, c) that a network takes; of a user's folder, unless it is resized, that of one picture.

    Raises ValueError for an unknown name.
    """
    return _found(dataset).image_shape


def load(name: str, folder: Path, resize: Resize | None = None) -> Dataset:
    """The data set of that name, read from the data folder; the same call gives the same object.

    resize: how picture files become images, by default `Resize()`; imagenet only.
    Raises ValueError for an unknown name, and for files that are missing or hold other data than the published: it
    names the file, its sha256 and the command that gets it. The pictures of imagenet have no published sha256.
    """
    source = _found(name)
    if name in OWN:
        return source.read(folder, resize)
    if resize is not None and name != "imagenet":
        raise ValueError(f"resize is for picture files, {name} has images of shape {source.image_shape}")
    return _load(name, folder.absolute(), resize)


def _found(name: str) -> Source:
    if name not in OWN and name not in SOURCES:
        raise ValueError(f"dataset must be one of {', '.join(SOURCES)}, got {name!r}")
    return OWN[name] if name in OWN else SOURCES[name]


@cache
def _load(name: str, folder: Path, resize: Resize | None) -> Dataset:
    source = SOURCES[name]
    try:
        return source.read(folder, resize)
    except ValueError as error:
        if source.download is None:
            raise
        command = f"python -m defenses data fetch {name} --data-dir {folder}"
        raise ValueError(f"{error}; `{command}` gets it, or takes it --from FOLDER") from error


def files_presence(layouts: Sequence[Layout], folder: Path, train: int = 0, test: int = 0) -> Presence:
    """What of these layouts is in the data folder; train, test: numbers of images when all of it is."""
    found = find(folder, layouts)
    altered = tuple(path.name for path in found.present if not is_published(path, found.layout))
    if altered:
        return Presence("altered", missing=found.missing, altered=altered)
    if found.missing:
        return Presence("partial" if found.present else "absent", missing=found.missing)
    return Presence("complete", train, test)


def _digits_presence(folder: Path) -> Presence:
    train, test = digits.load().train, digits.load().test
    return Presence("complete", len(train.images) if train else 0, len(test.images))


def _imagenet_presence(folder: Path) -> Presence:
    root = folder / "imagenet"
    train, test = (len(pictures(root / part)) for part in ("train", "val"))
    if not test:
        return Presence("absent", train, missing=("imagenet/val",))
    return Presence("complete" if test == imagenet.NUM_VALIDATION else "partial", train, test)


def _of_files(
    title: str,
    terms: str,
    image_shape: tuple[int, int, int],
    layouts: tuple[Layout, ...],
    download: Download,
    counts: tuple[int, int],
    read: Callable[[Path], Dataset],
) -> Source:
    def presence(folder: Path) -> Presence:
        return files_presence(layouts, folder, *counts)

    return Source(title, terms, image_shape, layouts, download, lambda folder, _: read(folder), presence)


OWN: dict[str, Source] = {}  # a user's folders, by what they are called on the command line
SOURCES: dict[str, Source] = {
    "digits": Source(
        "Handwritten digits, 1,797 grey scans of 8×8 pixels",
        "E. Alpaydin and C. Kaynak, UCI (1998); CC BY 4.0; inside scikit-learn",
        digits.IMAGE_SHAPE,
        (),
        None,
        lambda *_: digits.load(),
        _digits_presence,
    ),
    "mnist": _of_files(
        "Handwritten digits, 70,000 grey images of 28×28 pixels",
        "Y. LeCun, C. Cortes and C. Burges (1998); CC BY-SA 3.0",
        (28, 28, 1),
        mnist.MNIST,
        Download(
            mnist.MNIST_DOWNLOADS,
            (
                "http://yann.lecun.com/exdb/mnist/",
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
        (60000, 10000),
        mnist.read_mnist,
    ),
    "fashion-mnist": _of_files(
        "Articles of clothing, 70,000 grey images of 28×28 pixels",
        "H. Xiao, K. Rasul and R. Vollgraf, Zalando (2017); MIT",
        (28, 28, 1),
        mnist.FASHION,
        Download(
            mnist.FASHION_DOWNLOADS,
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
        ),
        (60000, 10000),
        mnist.read_fashion_mnist,
    ),
    "cifar10": _of_files(
        "Ten classes of things, 60,000 colour images of 32×32 pixels",
        "A. Krizhevsky, V. Nair and G. Hinton (2009); no licence stated, the report is to be cited",
        (32, 32, 3),
        cifar10.LAYOUTS,
        Download(
            cifar10.RECORDS_ARCHIVE,
            (
                "https://www.cs.toronto.edu/~kriz/",
                "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
            ),
        ),
        (50000, 10000),
        cifar10.read,
    ),
    "imagenet": Source(
        "ILSVRC2012, 1,000 classes, 50,000 validation pictures of any size",
        "O. Russakovsky et al. (2015); ImageNet's terms of access, https://image-net.org",
        (224, 224, 3),
        (),
        None,
        lambda folder, resize: imagenet.read(folder, resize or Resize()),
        _imagenet_presence,
    ),
}
