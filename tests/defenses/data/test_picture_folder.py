import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image, ImageFile

from defenses.data import imagenet
from defenses.data import picture_folder as module
from defenses.data.picture_folder import picture_folder
from defenses.files.pictures import Pictures
from defenses.files.resize import Resize, prepared
from tests.paths import DATA

GREY, RED = (5, 4, 1), (5, 4, 3)


def draw(path, value=0, shape=RED, mode=None):
    """A PNG or JPEG of one value, in the first channel where there are three; shape (h, w, c)."""
    height, width, channels = shape
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L" if channels == 1 else "RGB", (width, height), value if channels == 1 else (value, 0, 0))
    picture.convert(mode or picture.mode).save(path, quality=95)


def values(dataset):
    """The value of each picture that `draw` drew."""
    return (dataset.test.images[:][:, 0, 0, 0] * 255).round().astype(int).tolist()


@pytest.fixture
def folder(tmp_path):
    """Three classes; in the order of labels, then of names, the values are 10, 20, 30, 40."""
    root = tmp_path / "pets"
    for name, value in (("dog/a.png", 40), ("cat/b.png", 20), ("bee/z.png", 10), ("cat/c.png", 30)):
        draw(root / name, value)
    return root


def test_folders_are_classes_and_pictures_come_class_by_class(folder):
    dataset = picture_folder(folder)
    assert (dataset.name, dataset.image_shape, dataset.train) == ("pets", RED, None)
    assert dataset.classes == ("bee", "cat", "dog")
    assert dataset.test.labels.tolist() == [0, 1, 1, 2]
    assert dataset.test.labels.dtype == np.int32
    assert values(dataset) == [10, 20, 30, 40]


def test_pixels_are_those_of_the_files(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    (tmp_path / "a").mkdir()
    for name, image in zip("xy", pixels, strict=True):
        Image.fromarray(image).save(tmp_path / f"a/{name}.png")
    images = picture_folder(tmp_path).test.images
    assert images.shape == (2, 5, 4, 3)
    assert images[:].dtype == np.float32
    np.testing.assert_array_equal(images[[1, 0]], pixels[::-1].astype(np.float32) / np.float32(255))


def test_the_name_is_the_last_part_of_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder / "cat")
    for path in ("..", "../../pets/", "../../pets/."):
        assert picture_folder(module.Path(path)).name == "pets"


def numbered(root):
    """Classes 0..11, each with one picture whose value is ten times its number."""
    for number in range(12):
        draw(root / str(number) / "a.png", 10 * number)
    return picture_folder(root)


def require_numeric_order(dataset):
    assert dataset.classes == tuple(str(number) for number in range(12))
    assert values(dataset) == [10 * label for label in dataset.test.labels]


def test_folders_named_by_numbers_come_in_their_order(tmp_path):
    require_numeric_order(numbered(tmp_path))


def test_this_notices_numbers_sorted_as_text(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_in_order", lambda names: tuple(sorted(names)))
    with pytest.raises(AssertionError):
        require_numeric_order(numbered(tmp_path))


def test_numbers_may_count_from_one(tmp_path):
    for number in range(1, 11):
        draw(tmp_path / str(number) / "a.png", number)
    assert values(picture_folder(tmp_path)) == list(range(1, 11))


@pytest.mark.parametrize("numbers", [(0, 1, 3), (2, 3), (1, 2, 4), (0, 1, 2, 10)])
def test_some_of_the_numbers_do_not_tell_the_labels(tmp_path, numbers):
    """A network of ten classes knows 3 by another label than the third."""
    for number in numbers:
        draw(tmp_path / "some" / str(number) / "a.png", number)
    here = f"it has {len(numbers)} from {numbers[0]} to {numbers[-1]}; --classes FILE.json tells the labels"
    message = f"{tmp_path / 'some'} must number its classes from 0 or 1 without a gap, {here}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        picture_folder(tmp_path / "some")
    file = written(tmp_path / "classes.json", [f"class {number}" for number in range(11)])
    assert picture_folder(tmp_path / "some", classes=file).test.labels.tolist() == list(numbers)


def test_names_among_numbers_are_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="numbers or by names, not by both, it has 12 and 'masks'; --classes"):
        numbered(tmp_path)


def test_a_name_without_pictures_would_move_the_labels(folder, tmp_path):
    (folder / "ant").mkdir()
    with pytest.raises(
        ValueError, match=rf"^{folder}/ant must hold a picture to be a class: take it away, or --classes"
    ):
        picture_folder(folder)
    file = written(tmp_path / "classes.json", ["ant", "bee", "cat", "dog"])
    assert picture_folder(folder, classes=file).test.labels.tolist() == [1, 2, 2, 3]


def test_a_number_without_pictures_counts(tmp_path):
    (tmp_path / "0").mkdir()
    for number in (1, 2):
        draw(tmp_path / str(number) / "a.png")
    assert picture_folder(tmp_path).test.labels.tolist() == [1, 2]


def test_other_files_are_skipped_and_counted(folder, capsys):
    for name in ("a.PNG", "b.jpg", "c.JPeG"):
        draw(folder / "eel" / name, 50)
    assert len(picture_folder(folder).test.images) == 7
    assert capsys.readouterr().err == ""
    (folder / "eel" / "notes.txt").touch()
    picture_folder(folder)
    assert capsys.readouterr().err == f"skipped 1 file that is no .png, .jpg or .jpeg in {folder}\n"
    for path in (folder / "bee" / "a.gif", folder / "cat" / "png"):
        path.touch()
    dataset = picture_folder(folder)
    assert capsys.readouterr() == ("", f"skipped 3 files that are no .png, .jpg or .jpeg in {folder}\n")
    np.testing.assert_allclose(values(dataset), [10, 20, 30, 40, 50, 50, 50], atol=2)


def test_what_is_hidden_is_no_class_and_no_picture(folder, capsys):
    draw(folder / ".ipynb_checkpoints" / "a.png")
    (folder / "cat" / "._b.png").write_bytes(b"what a Mac leaves beside a copied picture")
    (folder / "cat" / ".DS_Store").touch()
    (folder / "README.txt").touch()
    assert values(picture_folder(folder)) == [10, 20, 30, 40]
    assert capsys.readouterr().err == ""


def test_pictures_that_are_in_no_class_folder_or_too_deep_are_said(folder, capsys):
    draw(folder / "cat" / "images" / "a.png")
    (folder / "dog" / "b.png").mkdir()
    draw(folder / "loose.png")
    assert values(picture_folder(folder)) == [10, 20, 30, 40]
    told = f"skipped 2 folders inside the class folders in {folder}\nskipped 1 picture in no class folder in {folder}\n"
    assert capsys.readouterr().err == told


ENTRIES = [
    {"index": 3, "wnid": "n4", "name": "crane"},
    {"index": 0, "wnid": "n1", "name": "dog"},
    {"index": 2, "wnid": "bee", "name": "bee, wild bee"},
    {"index": 1, "wnid": "n2", "name": "crane"},
    {"index": 4, "wnid": "n0", "name": "cat"},
]


def written(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        (["dog", "ox", "bee", "elk", "cat"], ("dog", "ox", "bee", "elk", "cat")),
        (ENTRIES, ("dog", "crane", "bee, wild bee", "crane", "cat")),
    ],
)
def test_a_file_of_classes_tells_the_labels(folder, tmp_path, content, classes):
    dataset = picture_folder(folder, classes=written(tmp_path / "classes.json", content))
    assert dataset.classes == classes
    assert dataset.test.labels.tolist() == [0, 2, 4, 4]
    assert values(dataset) == [40, 10, 20, 30]


def test_two_folders_of_one_class_are_one_class(folder, tmp_path):
    draw(folder / "n1" / "0.png", 50)
    dataset = picture_folder(folder, classes=written(tmp_path / "classes.json", ENTRIES))
    assert dataset.test.labels.tolist() == [0, 0, 2, 4, 4]
    assert values(dataset) == [50, 40, 10, 20, 30]


@pytest.mark.parametrize("name", ["fox", "crane"])  # none of the classes; two of them
def test_a_folder_that_the_file_does_not_know_is_named(folder, tmp_path, name):
    (folder / name).mkdir()
    file = written(tmp_path / "classes.json", ENTRIES)
    classes = f"exactly one of the 5 classes of {file}, or its number 0..4"
    message = f"{folder / name} must have the name or the wnid of {classes}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        picture_folder(folder, classes=file)


@pytest.mark.parametrize(
    "content",
    [[], {"dog": 0}, "dog", ["dog", 1], [{"index": 0}], [{**ENTRIES[0], "index": 1}], [{**ENTRIES[0], "index": "a"}]],
)
def test_a_file_that_is_no_list_of_classes_is_named(folder, tmp_path, content):
    file = written(tmp_path / "classes.json", content)
    with pytest.raises(ValueError, match=rf"^{file} must be a JSON list of names, or of .index, wnid, name. with ind"):
        picture_folder(folder, classes=file)


def test_a_file_of_classes_that_is_not_there_or_lists_one_twice(folder, tmp_path):
    file = tmp_path / "classes.json"
    with pytest.raises(ValueError, match=rf"^{file} must be a JSON list of names"):
        picture_folder(folder, classes=file)
    written(file, ["dog", "cat", "bee", "cat"])
    with pytest.raises(ValueError, match=rf"^{file} must list every class once, it has 'cat' twice or more$"):
        picture_folder(folder, classes=file)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_greyscale_pictures_stay_one_channel(tmp_path, mode):
    draw(tmp_path / "a" / "x.png", 255, GREY, mode)
    draw(tmp_path / "b" / "y.png", 7, GREY)
    dataset = picture_folder(tmp_path)
    assert dataset.image_shape == GREY
    assert dataset.test.images[:].shape == (2, *GREY)
    assert values(dataset) == [255, 7]
    assert picture_folder(tmp_path, Resize(3, 2)).test.images[:].shape == (2, 2, 2, 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_one_picture_in_colour_makes_all_of_them_colour_once_resized(tmp_path, mode):
    draw(tmp_path / "a" / "x.png", 9, GREY)
    draw(tmp_path / "b" / "y.png", 204, RED, mode)  # a red of the palette
    image = picture_folder(tmp_path, Resize(4, 4)).test.images[:]
    assert image.shape == (2, 4, 4, 3)
    np.testing.assert_array_equal((image[:, 1, 1] * 255).round(), [(9, 9, 9), (204, 0, 0)])


@pytest.mark.parametrize("shape", [(4, 5, 3), (5, 5, 3), GREY])
def test_pictures_of_another_shape_need_a_resize(folder, shape):
    draw(folder / "cat" / "c.png", 30, shape)
    advice = "; all must be alike, --resize SIZE:CROP makes them so"
    message = f"{folder / 'cat/c.png'} has shape {shape}, {folder / 'bee/z.png'} has {RED}{advice}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        picture_folder(folder)
    dataset = picture_folder(folder, Resize(4, 4))
    assert dataset.image_shape == (4, 4, 3)
    assert values(dataset) == [10, 20, 30, 40]


def test_a_resize_is_that_of_imagenet(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (30, 41, 3), np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a/x.png")
    resize = Resize(20, 16, "bicubic")
    image = picture_folder(tmp_path, resize).test.images[:][0]
    np.testing.assert_array_equal(image, prepared(Image.fromarray(pixels), resize))
    assert (image != prepared(Image.fromarray(pixels), resize._replace(interpolation="bilinear"))).any()
    with pytest.raises(ValueError, match=r"resize.crop must lie in 1..resize.size = 4, got 5"):
        picture_folder(tmp_path, Resize(4, 5))


@pytest.mark.parametrize("resize", [None, Resize(4, 4)])
def test_no_pixel_is_decoded_before_it_is_asked_for(folder, monkeypatch, resize):
    def load(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    images = picture_folder(folder, resize).test.images
    assert images.shape == (4, *images.shape[1:])
    with pytest.raises(AssertionError, match="decoded"):
        images[:1]


def test_only_the_pictures_asked_for_are_opened(folder):
    images = picture_folder(folder).test.images
    assert isinstance(images, Pictures)
    for path in images.paths[2:]:
        path.write_bytes(b"")
    assert images[:2].shape == (2, *RED)
    with pytest.raises(ValueError, match=rf"^{folder / 'dog/a.png'} must be a whole picture file"):
        images[3:]


def test_a_picture_that_changes_its_size_meanwhile_is_not_stretched(folder):
    images = picture_folder(folder).test.images
    draw(folder / "bee" / "z.png", 10, (1, 1, 3))
    with pytest.raises(ValueError, match=r"z.png: shape must be \(5, 4, 3\), got \(1, 1, 3\)"):
        images[:]


@pytest.mark.parametrize("resize", [None, Resize(4, 4)])
@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"])
def test_an_unreadable_picture_is_named_at_once(folder, content, resize):
    (folder / "cat" / "c.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{folder / 'cat/c.png'} must be a whole picture file"):
        picture_folder(folder, resize)


def test_sixteen_bits_are_not_cut_to_eight(folder):
    Image.fromarray(np.full((5, 4), 256, np.uint16)).save(folder / "cat" / "c.png")
    with pytest.raises(ValueError, match=rf"^{folder / 'cat/c.png'}: greyscale must have at most 8 bits, got 'I;16'$"):
        picture_folder(folder)


def test_what_is_no_folder_of_pictures(folder, tmp_path):
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    for path in (missing, folder / "cat" / "b.png"):
        with pytest.raises(ValueError, match=rf"^{path} must be a folder of pictures, there is no such folder$"):
            picture_folder(path)
    empty.mkdir()
    for path in (empty, folder.parent):
        message = f"{path} must hold .png, .jpg or .jpeg files, in class folders or with a label file, it has none"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            picture_folder(path)


def hashes(split, classes):
    """The sorted (label, digest of the pixels) of the images of these classes."""
    rows = np.flatnonzero(np.isin(split.labels, classes))
    images = zip(split.labels[rows], split.images[rows], strict=True)
    return sorted((int(label), hashlib.sha256(image.tobytes()).hexdigest()) for label, image in images)


@pytest.mark.skipif(not (DATA / "imagenet/val").is_dir(), reason="ImageNet is not in data/")
def test_real_pictures_are_those_that_the_imagenet_reader_reads(capsys):
    val, file = DATA / "imagenet/val", DATA / "imagenet/classes.json"
    dataset, known = picture_folder(val, Resize(), file), imagenet.read(DATA, Resize())
    assert (dataset.name, dataset.classes, dataset.image_shape) == ("val", known.classes, known.image_shape)
    assert sorted(dataset.test.labels) == sorted(known.test.labels)
    classes = np.unique(known.test.labels)[::20]
    expected = hashes(known.test, classes)
    assert len(expected) >= len(classes) > 5
    assert hashes(dataset.test, classes) == expected
    assert hashes(dataset.test._replace(labels=np.roll(dataset.test.labels, 1)), classes) != expected
    assert hashes(picture_folder(val, Resize(256, 224, "bicubic"), file).test, classes) != expected
    without_list = picture_folder(val, Resize()).test
    assert hashes(without_list, classes) != expected
