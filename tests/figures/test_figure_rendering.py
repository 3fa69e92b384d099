"""The files: both formats, whole or not at all, and a PNG with something on it everywhere it should."""

import numpy as np
import pytest
from matplotlib.image import imread

from figures.registry import PLOTS
from figures.rendering import render


@pytest.fixture(scope="module")
def rendered(out):
    """Every figure once; warnings, such as missing glyphs or a layout that fails, are errors."""
    return render(list(PLOTS), out)


def test_both_formats_and_nothing_else(rendered, out):
    names = {f"{name}{suffix}" for name in PLOTS for suffix in (".pdf", ".png")}
    assert {path.name for path in (out / "figures").iterdir()} == names
    assert {path for paths in rendered.values() for path in paths} == {out / "figures" / name for name in names}


@pytest.mark.parametrize("name", PLOTS)
def test_png_is_drawn_up_to_its_margins_and_not_clipped(name, rendered):
    image = imread(rendered[name][1])[..., :3]
    height, width, _ = image.shape
    assert width == pytest.approx(1400, abs=30)  # 7 inches at 200 dpi
    assert 400 < height < 2200
    ink = np.any(image < 0.9, axis=-1)
    assert 0.01 < ink.mean() < 0.8
    assert not ink[[0, -1]].any()
    assert not ink[:, [0, -1]].any()
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert rows[-1] - rows[0] > 0.9 * height
    assert columns[-1] - columns[0] > 0.9 * width


@pytest.mark.parametrize("name", PLOTS)
def test_pdf_is_vector_with_real_text(name, rendered):
    content = rendered[name][0].read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"/CIDFontType2" in content  # fonttype 42
    assert b"/Type3" not in content


def test_same_records_give_the_same_files(rendered, out):
    before = [path.read_bytes() for path in rendered["diversity"]]
    assert [path.read_bytes() for path in render(["diversity"], out)["diversity"]] == before


def test_one_failing_figure_leaves_no_file(record, tmp_path):
    record("diversity")
    with pytest.raises(ValueError, match="no record of moments"):
        render(["diversity", "second-moment"], tmp_path)
    assert not (tmp_path / "figures").exists()


def test_unwritable_target_is_one_clear_error_and_leaves_no_part(record, tmp_path):
    record("diversity")
    (tmp_path / "figures" / "diversity.pdf").mkdir(parents=True)
    with pytest.raises(ValueError, match="out must be a writable folder, got"):
        render(["diversity"], tmp_path)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["diversity.pdf"]
