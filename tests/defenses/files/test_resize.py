import re

import pytest

from defenses.files.resize import Resize, resize_of


@pytest.mark.parametrize(
    ("text", "resize"),
    [
        ("256:224:bicubic", Resize(256, 224, "bicubic")),
        ("256:224:bilinear", Resize(256, 224, "bilinear")),
        ("40:32", Resize(40, 32, "bilinear")),
        ("32", Resize(32, 32, "bilinear")),
        ("1:1", Resize(1, 1)),
    ],
)
def test_a_resize_is_read_as_it_is_written(text, resize):
    assert resize_of(text) == resize


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0", "-1", "32:", ":32", "32:33", "32:0", "256:224:nearest", "256:bicubic", "256:224:bicubic:1"),
        *("2.5", " 32", "32\n", "1_0", "+32", "٣٢", "9" * 5000),
    ],
)
def test_a_resize_that_makes_no_sense_is_named(text):
    allowed = "SIZE, SIZE:CROP or SIZE:CROP:INTERPOLATION, 1 <= CROP <= SIZE, INTERPOLATION one of bilinear, bicubic"
    with pytest.raises(ValueError, match=f"^{re.escape(f'--resize must be {allowed}, got {text!r}')}$"):
        resize_of(text)
