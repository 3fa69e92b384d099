"""The files: both formats, whole or not at all, and a PNG with something on it everywhere it should."""

import contextlib
import io

import numpy as np
import pytest
from matplotlib.image import imread

from figures.command_line import main
from figures.registry import PLOTS
from figures.rendering import files, render


@pytest.fixture(scope="module")
def printed(out):
    """What `all` prints; warnings, such as missing glyphs or a layout that fails, are errors."""
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert main(["all", "--out", str(out)]) == 0
    return shown.getvalue()


@pytest.fixture(scope="module")
def rendered(printed, out):
    """Every figure once: its two files."""
    return {name: files(name, out) for name in PLOTS}


def test_both_formats_and_nothing_else(rendered, out):
    names = {f"{name}{suffix}" for name in PLOTS for suffix in (".pdf", ".png")}
    assert {path.name for path in (out / "figures").iterdir()} == names
    assert {path for paths in rendered.values() for path in paths} == {out / "figures" / name for name in names}


def test_every_figure_has_a_line(printed, rendered):
    assert printed.splitlines() == [" ".join(map(str, paths)) for paths in rendered.values()]


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


def test_summary_of_what_was_drawn(rendered, out, capsys):
    assert main(["summary", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()[:9]) <= 110
    cells = shown.replace("│", " ")
    assert "20 images, 200 queries each, linf distance at most 0.15" in cells
    row = next(line for line in shown.splitlines() if "patchwise-purifier" in line)
    wanted = ["1.80", "2.00 [1.90, 2.10]", "40 [35, 45]", "60 [55, 65]", "80 [75, 85]"]
    places = [row.find(cell) for cell in wanted]
    assert -1 not in places
    assert places == sorted(places)
    assert "negative controls caught: 1 of 2" in shown
    assert f"figures: {2 * len(PLOTS)} files in {out / 'figures'}" in shown


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
