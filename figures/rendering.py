"""From records to files: every figure as vector PDF and as PNG."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from figures.plot import Plot, gather
from figures.registry import find_plot
from sims.records import store

STYLE = "figures.purebound"
SUFFIXES = (".pdf", ".png")


def draw(plot: Plot, out: Path) -> Figure:
    """The figure from the newest records under `out`, in the style of the house."""
    found = gather(plot, out)
    with matplotlib.style.context(["default", STYLE]):
        return plot.draw(found)


def files(name: str, out: Path) -> list[Path]:
    """Where that figure is written."""
    return [out / "figures" / f"{name}{suffix}" for suffix in SUFFIXES]


def render(names: Sequence[str], out: Path) -> dict[str, list[Path]]:
    """Draw the figures and write them to `<out>/figures`; either all files appear, each whole, or none.

    Raises ValueError for an unknown name, a missing or damaged record, or a folder that can't be written.
    """
    plots = {name: find_plot(name) for name in names}
    drawn = {name: draw(plot, out) for name, plot in plots.items()}
    folder = out / "figures"
    store.prepare(folder)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as temporary:
            for name, figure in drawn.items():
                _save(figure, name, Path(temporary))
            for path in (path for name in drawn for path in files(name, out)):
                (Path(temporary) / path.name).replace(path)
    except OSError as error:
        raise ValueError(f"out must be a writable folder, got {out} ({error.strerror})") from error
    return {name: files(name, out) for name in drawn}


def _save(figure: Figure, name: str, folder: Path) -> None:
    with matplotlib.style.context(["default", STYLE]):
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.png")
