import io
import json
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from defenses.data import imagenet
from defenses.files.pictures import Pictures, require_whole
from defenses.files.resize import Resize, checked, prepared
from tests.paths import DATA

WNIDS = [f"n{10000000 + 7 * index}" for index in range(1000)]
PIPELINES = [Resize(256, 224, "bilinear"), Resize(256, 224, "bicubic"), Resize(224, 224, "bilinear")]
SIZES = [(500, 375), (375, 500), (640, 427), (227, 227), (300, 1001), (190, 180), (1600, 1200)]


def synthetic(width, height):
    """A picture with edges, a gradient, fine stripes and noise: what resizing can get wrong."""
    rows, columns = np.mgrid[:height, :width]
    waves = [rows * 255 // height, columns * 255 // width, 255 * ((rows // 3 + columns // 5) % 2)]
    noise = np.random.default_rng(0).integers(-20, 21, (height, width, 3))
    picture = Image.fromarray(np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse((width // 4, height // 5, width // 2, height // 2), fill=(250, 10, 90))
    return picture


def published(picture, resize, antialias=True):
    """The evaluation pipeline in PyTorch's arithmetic: shorter side to `size`, central crop, ToTensor.

    The sizes are those of torchvision's documentation: the longer side is int(size · longer / shorter), the crop's
    corner int(round((side − crop) / 2)).
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    width, height = picture.size
    short, long = sorted(picture.size)
    longer = int(resize.size * long / short)
    target = (resize.size, longer) if height < width else (longer, resize.size)
    pixels = torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1)[None].copy())
    resized = torch.nn.functional.interpolate(
        pixels, size=target, mode=resize.interpolation, antialias=antialias, align_corners=False
    )
    top, left = (round((side - resize.crop) / 2.0) for side in target)
    cropped = resized[0, :, top : top + resize.crop, left : left + resize.crop].numpy()
    return np.clip(cropped, 0, 255).transpose(1, 2, 0) / 255


def mean_difference(one, other):
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("resize", PIPELINES)
@pytest.mark.parametrize("size", SIZES)
def test_preprocessing_is_the_published_pipeline(resize, size):
    picture = synthetic(*size)
    image = prepared(picture, resize)
    assert image.shape == (224, 224, 3)
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1
    assert mean_difference(image, published(picture, resize)) < 1 / 255


@pytest.mark.parametrize("resize", PIPELINES)
def test_this_comparison_notices_other_pipelines(resize):
    picture = synthetic(500, 375)
    image = prepared(picture, resize)
    other_filter = "bicubic" if resize.interpolation == "bilinear" else "bilinear"
    wrong = [
        published(picture, resize, antialias=False),
        published(picture, resize._replace(interpolation=other_filter)),
        published(picture, resize._replace(size=resize.size + 1)),
        np.roll(published(picture, resize), 1, axis=1),
        published(picture, resize)[..., ::-1],
    ]
    for other in wrong:
        assert mean_difference(image, other) > 1 / 255


@pytest.mark.parametrize(("width", "left"), [(267, 22), (265, 20), (261, 18), (263, 20)])
def test_a_crop_between_two_pixels_goes_to_the_even_one(width, left):
    pixels = np.zeros((256, width), np.uint8)
    pixels[:, left] = 255
    image = prepared(Image.fromarray(pixels), Resize(256, 224))
    assert image[:, 0].min() == 1
    assert image[:, 1:].max() == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_every_mode_becomes_colour(mode):
    assert prepared(synthetic(300, 260).convert(mode), Resize()).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("resize", "message"),
    [
        (Resize(224, 256), r"resize.crop must lie in 1..resize.size = 224, got 256"),
        (Resize(224, 0), r"resize.crop must lie in 1..resize.size = 224, got 0"),
        (Resize(interpolation="nearest"), "resize.interpolation must be one of bilinear, bicubic, got 'nearest'"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_resize_that_makes_no_sense(resize, message):
    with pytest.raises(ValueError, match=message):
        checked(resize)


@pytest.fixture
def folder(tmp_path):
    """A data folder with six pictures of three of the thousand classes, and the list of classes."""
    root = tmp_path / "imagenet"
    for number, index in enumerate((900, 3, 900, 512, 3, 3)):
        path = root / "val" / WNIDS[index] / f"ILSVRC2012_val_{number + 1:08d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 50), (40 * number, 0, 0)).save(path, "JPEG", quality=95)
    write_classes(root)
    return tmp_path


def write_classes(root, wnids=WNIDS):
    listed = [{"index": index, "wnid": wnid, "name": f"thing {index}"} for index, wnid in enumerate(wnids)]
    (root / "classes.json").write_text(json.dumps(listed))


SMALL = Resize(32, 32)


def pictures(folder, resize=SMALL):
    """The validation pictures of a data folder."""
    images = imagenet.read(folder, resize).test.images
    assert isinstance(images, Pictures)
    return images


def test_labels_count_all_classes_and_files_come_in_the_order_of_their_names(folder):
    dataset = imagenet.read(folder, SMALL)
    assert list(dataset.test.labels) == [900, 3, 900, 512, 3, 3]
    assert dataset.test.labels.dtype == np.int32
    assert dataset.classes[900] == "thing 900"
    assert (dataset.image_shape, dataset.train) == ((32, 32, 3), None)
    reds = dataset.test.images[:][..., 0].mean(axis=(1, 2)) * 255
    np.testing.assert_allclose(reds, 40 * np.arange(6), atol=2)


@pytest.mark.parametrize("rows", [[4, 0], np.asarray([1, 1]), slice(1, 6, 2), slice(0, 0), [-1]])
def test_images_are_those_asked_for(folder, rows):
    images = imagenet.read(folder, SMALL).test.images
    np.testing.assert_array_equal(images[rows], images[:][rows])
    assert images.shape == (len(images), 32, 32, 3) == (6, 32, 32, 3)


def test_only_the_pictures_asked_for_are_opened(folder):
    images = pictures(folder)
    for path in images.paths[2:]:
        path.write_bytes(b"")
    assert images[:2].shape == (2, 32, 32, 3)


def test_without_the_list_all_thousand_folders_tell_the_labels(folder):
    (folder / "imagenet/classes.json").unlink()
    with pytest.raises(ValueError, match=r"classes.json is missing, and .*val has 3 of 1000 class folders"):
        imagenet.read(folder, SMALL)
    for wnid in WNIDS:
        (folder / "imagenet/val" / wnid).mkdir(exist_ok=True)
    dataset = imagenet.read(folder, SMALL)
    assert list(dataset.test.labels) == [900, 3, 900, 512, 3, 3]
    assert dataset.classes == tuple(WNIDS)


EXPECTED = [900, 3, 900, 512, 3, 3]


def named_otherwise(folder, name_of):
    """Give every class folder the name that `name_of` has for its label."""
    val = folder / "imagenet/val"
    for path in list(val.iterdir()):
        path.rename(val / name_of(WNIDS.index(path.name)))


@pytest.mark.parametrize("name_of", [str, "{:04d}".format, "thing {}".format])
def test_class_folders_named_by_numbers_or_names_give_the_same_labels(folder, name_of):
    named_otherwise(folder, name_of)
    assert list(imagenet.read(folder, SMALL).test.labels) == EXPECTED


def test_numbers_tell_the_labels_without_the_list_too(folder):
    """All 1000 or some: 10 comes after 9, not after 1."""
    named_otherwise(folder, str)
    (folder / "imagenet/classes.json").unlink()
    assert list(imagenet.read(folder, SMALL).test.labels) == EXPECTED
    for number in range(1000):
        (folder / "imagenet/val" / str(number)).mkdir(exist_ok=True)
    dataset = imagenet.read(folder, SMALL)
    assert list(dataset.test.labels) == EXPECTED
    assert len(dataset.classes) == 1000


def test_names_tell_no_labels_without_the_list(folder):
    named_otherwise(folder, "thing {}".format)
    (folder / "imagenet/classes.json").unlink()
    with pytest.raises(
        ValueError, match=r"val has 0 of 1000 class folders named by wnids, and other names than numbers"
    ):
        imagenet.read(folder, SMALL)
    named = {f"thing {number}" for number in range(1000)}
    with pytest.raises(ValueError, match=r"classes.json is missing"):
        imagenet.classes(named, folder / "imagenet/val", folder / "imagenet/classes.json")


def test_numbers_that_count_from_one_are_refused(folder):
    named_otherwise(folder, lambda label: str(label + 100))
    with pytest.raises(ValueError, match=r"val/1000 must have the name or the wnid of .* or its number 0..999$"):
        imagenet.read(folder, SMALL)


def mixed(folder):
    """A third of the pictures each end in .JPEG, .jpg and .png."""
    for number, path in enumerate(sorted((folder / "imagenet/val").glob("*/*"), key=lambda path: path.name)):
        if number % 3:
            with Image.open(path) as picture:
                picture.save(path.with_suffix((".jpg", ".png")[number % 3 - 1]))
            path.unlink()


def test_mixed_endings_are_all_read_and_what_is_skipped_is_counted(folder, capsys):
    mixed(folder)
    (folder / "imagenet/val" / WNIDS[3] / "a.gif").touch()
    assert list(imagenet.read(folder, SMALL).test.labels) == EXPECTED
    told = f"skipped 1 file that is no .png, .jpg or .jpeg in {folder / 'imagenet/val'}\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("place", ["val/labels.csv", "val.txt"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_flat_folder_with_a_label_file(folder, place, listed):
    val = folder / "imagenet/val"
    rows = {path: WNIDS.index(path.parent.name) for path in val.glob("*/*")}
    for path in rows:
        path.rename(val / path.name)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    (folder / "imagenet" / place).write_text("".join(f"{path.name} {label}\n" for path, label in rows.items()))
    if not listed:
        (folder / "imagenet/classes.json").unlink()
    assert list(imagenet.read(folder, SMALL).test.labels) == EXPECTED


def test_training_pictures_are_read_where_they_are(folder):
    (folder / "imagenet/val").rename(folder / "imagenet/train")
    with pytest.raises(ValueError, match="imagenet/val is missing"):
        imagenet.read(folder, SMALL)
    (folder / "imagenet/val" / WNIDS[1]).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"val must hold .png, .jpg or .jpeg files, in class folders or"):
        imagenet.read(folder, SMALL)
    Image.new("RGB", (40, 50)).save(folder / "imagenet/val" / WNIDS[1] / "a.JPEG", "JPEG")
    dataset = imagenet.read(folder, SMALL)
    assert dataset.train is not None
    assert list(dataset.train.labels) == [900, 3, 900, 512, 3, 3]
    assert list(dataset.test.labels) == [1]


def test_a_folder_that_is_no_class_is_named(folder):
    (folder / "imagenet/val" / WNIDS[512]).rename(folder / "imagenet/val/cats")
    with pytest.raises(ValueError, match="imagenet/val/cats must have the name or the wnid of exactly one"):
        imagenet.read(folder, SMALL)


@pytest.mark.parametrize("wnids", [WNIDS[:999], WNIDS[::-1], [*WNIDS[:999], WNIDS[0]]])
def test_a_list_of_other_classes_is_refused(folder, wnids):
    write_classes(folder / "imagenet", wnids)
    with pytest.raises(ValueError, match=r"classes.json must list 1000 classes, index 0..999 in the order of wnids"):
        imagenet.read(folder, SMALL)


@pytest.mark.parametrize(
    "content", [b"", b"{}x", b'{"n01440764": 0}', b"[1, 2]", b'[{"index": 0}]', b"\xff\xfe", b"[" * 100_000]
)
def test_a_file_that_is_no_list_is_named(folder, content):
    (folder / "imagenet/classes.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"classes.json must (be a JSON list|list 1000 classes)"):
        imagenet.read(folder, SMALL)


@pytest.mark.parametrize("size", [(60000, 1), (1, 60000)])
def test_a_picture_that_would_become_too_large_is_refused_at_once(folder, size):
    images = pictures(folder, Resize())
    Image.new("RGB", size).save(images.paths[1], "JPEG")
    width, height = (256 * side for side in size)
    refusal = f"a picture of {size[0]} × {size[1]} pixels would become {width} × {height}, allowed are 67108864 in all"
    start = time.process_time()
    with pytest.raises(ValueError, match=f"^{images.paths[1]}: {refusal}$"):
        images[:]
    assert time.process_time() - start < 5


def test_a_picture_a_thousand_times_as_long_as_wide_is_read():
    assert prepared(Image.new("RGB", (1024, 1)), Resize()).shape == (224, 224, 3)
    with pytest.raises(ValueError, match=r"1025 × 1 pixels would become 262400 × 256, allowed are 67108864 in all"):
        prepared(Image.new("RGB", (1025, 1)), Resize())


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (60000, 1), (9, 700)])
def test_small_and_narrow_pictures_are_whole(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "a.JPEG")
    require_whole(tmp_path / "a.JPEG")


def as_gif(content):
    """The same picture in a format that Pillow reads but ImageNet does not hold."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(content)).save(stream, "GIF")
    return stream.getvalue()


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"text", as_gif])
def test_a_damaged_or_foreign_picture_is_named(folder, damage):
    images = pictures(folder)
    path = images.paths[1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path.name} must be a whole picture file"):
        images[:]


REAL = pytest.mark.skipif(not (DATA / "imagenet/val").is_dir(), reason="ImageNet is not in data/")


@REAL
def test_real_labels_and_classes():
    dataset = imagenet.read(DATA, Resize())
    assert dataset.classes[0].startswith("tench")
    assert dataset.classes[999].startswith("toilet tissue")
    assert [path.name for path in pictures(DATA).paths[:2]] == [f"ILSVRC2012_val_0000000{n}.JPEG" for n in (1, 2)]
    assert list(dataset.test.labels[:5]) == [65, 970, 230, 809, 516]  # sea snake, alp, Shetland sheepdog, ...


@REAL
@pytest.mark.parametrize("resize", PIPELINES)
def test_real_pictures_go_through_the_published_pipeline(resize):
    images = pictures(DATA, resize)
    rows = range(0, len(images), len(images) // 10)
    for image, row in zip(images[list(rows)], rows, strict=True):
        with Image.open(images.paths[row]) as picture:
            assert mean_difference(image, published(picture, resize)) < 1 / 255
