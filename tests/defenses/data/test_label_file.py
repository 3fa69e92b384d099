"""A flat folder of pictures with a file that tells their labels."""

import re

import numpy as np
import pytest

from defenses.data.picture_folder import picture_folder
from tests.defenses.data.test_picture_folder import draw, values, written

ROWS = (("z.png", "bee", 10), ("a.JPG", "cat", 20), ("c c.png", "cat", 30), ("b.jpeg", "dog", 40))
EXPECTED = ([10, 20, 30, 40], [0, 1, 1, 2])


@pytest.fixture
def folder(tmp_path):
    """Four pictures, the classes of which no folder tells."""
    for name, _, value in ROWS:
        draw(tmp_path / "pets" / name, value)
    return tmp_path / "pets"


def as_it_is(text: str) -> object:
    return text


def lines(delimiter=",", heading=(), class_of=as_it_is, name_of=as_it_is):
    return "\n".join([*heading, *(f"{name_of(name)}{delimiter}{class_of(kind)}" for name, kind, _ in ROWS), ""])


NUMBER = {"bee": 0, "cat": 1, "dog": 2}
FORMS = {
    "Kaggle's table": ("labels.csv", lines(heading=["image,label"])),
    "without a heading": ("labels.csv", lines()),
    "names without endings": ("train.csv", lines(heading=["id,breed"], name_of=lambda name: name.split(".")[0])),
    "quoted, other line ends, a mark of order": (
        "a.csv",
        "\ufeff" + lines(name_of='"{}"'.format).replace("\n", "\r\n"),
    ),
    "blanks, as ImageNet's val.txt": ("val.txt", lines(" ", class_of=NUMBER.__getitem__)),
    "numbers from one": ("val.txt", lines(" ", class_of=lambda kind: 1 + NUMBER[kind])),
    "tabs": ("labels.txt", lines("\t")),
    "names after their folders": ("labels.txt", lines(" ", name_of=lambda name: f"val/{name}")),
    "names as Windows writes them": ("LABELS.CSV", lines(name_of=lambda name: f"val\\{name}")),
    "beside the folder": ("../pets.txt", lines(" ")),
}


@pytest.mark.parametrize(("name", "text"), FORMS.values(), ids=FORMS.keys())
def test_every_form_gives_the_same_labels(folder, capsys, name, text):
    (folder / name).write_text(text)
    dataset = picture_folder(folder)
    assert dataset.test.labels.tolist() == EXPECTED[1]
    np.testing.assert_allclose(values(dataset), EXPECTED[0], atol=2)
    assert dataset.classes in (("bee", "cat", "dog"), ("0", "1", "2"), ("1", "2", "3"))
    assert capsys.readouterr().err == ""


def test_this_notices_labels_of_other_pictures(folder):
    (folder / "labels.csv").write_text(lines(class_of=lambda kind: {"bee": "dog", "dog": "bee"}.get(kind, kind)))
    assert values(picture_folder(folder)) != EXPECTED[0]


def test_a_file_of_classes_tells_the_labels(folder, tmp_path):
    classes = written(tmp_path / "classes.json", ["ant", "bee", "cat", "dog"])
    (folder / "labels.csv").write_text(lines())
    assert picture_folder(folder, classes=classes).test.labels.tolist() == [1, 2, 2, 3]
    (folder / "labels.csv").write_text(lines(class_of=NUMBER.__getitem__))
    assert picture_folder(folder, classes=classes).test.labels.tolist() == [0, 1, 1, 2]
    (folder / "labels.csv").write_text(lines(class_of=lambda kind: kind.replace("dog", "fox")))
    message = f"'fox' in {folder / 'labels.csv'} must have the name or the wnid of exactly one of the 4 classes of"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        picture_folder(folder, classes=classes)


def test_what_has_no_partner_is_skipped_and_counted(folder, capsys):
    """A label file may be of more pictures than are here, whose classes count all the same."""
    draw(folder / "unlabelled.png")
    (folder / "notes.txt").touch()
    (folder / "labels.csv").write_text(lines() + "elsewhere.png,ant\nfar.png,ant\n")
    dataset = picture_folder(folder)
    assert dataset.classes == ("ant", "bee", "cat", "dog")
    assert dataset.test.labels.tolist() == [1, 2, 2, 3]
    file = folder / "labels.csv"
    assert capsys.readouterr().err.splitlines() == [
        f"skipped 1 file that is no .png, .jpg or .jpeg in {folder}",
        f"skipped 1 picture without a line in {file} in {folder}",
        f"skipped 2 lines of {file} whose pictures are not in {folder}",
    ]


WRONG = {
    "three entries": (
        "a.JPG,5,cat\n",
        "must hold lines of two entries, a picture and its class, got ['a.JPG', '5', 'cat']",
    ),
    "no class": ("a.JPG,\nz.png,bee\n", "must hold lines of two entries, a picture and its class, got ['a.JPG', '']"),
    "one entry": ("z.png bee\na.JPG\n", "must hold lines of two entries, a picture and its class, got ['a.JPG']"),
    "two classes": ("z.png,bee\nz.png,cat\n", "must give z.png one class, it gives 'bee' and 'cat'"),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_line_is_named(folder, text, complaint):
    (folder / "labels.txt").write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{folder}/labels.txt {complaint}')}$"):
        picture_folder(folder)


def test_without_a_file_of_labels_it_is_said_what_is_expected(folder):
    expected = "must hold class folders or a .csv or .txt file with lines `picture,class` or `picture class`, "
    (folder / "._labels.csv").write_text(lines())  # what a Mac leaves beside a copied file
    for text in (None, "", "these are pictures of pets\n", f"a,{'x' * 200_000}\n"):
        if text is not None:
            (folder / "README.txt").write_text(text)
        with pytest.raises(ValueError, match=f"^{folder} {re.escape(expected)}.* 4 pictures .* no such file$"):
            picture_folder(folder)


def test_two_files_of_labels_are_refused(folder):
    for name in ("a.csv", "b.txt"):
        (folder / name).write_text(lines())
    with pytest.raises(ValueError, match=f"must have one file of labels, it has {folder}/a.csv, {folder}/b.txt$"):
        picture_folder(folder)
