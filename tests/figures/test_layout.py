"""What a careful reader sees: every mark on the page, words clear of each other, no point behind a legend."""

import itertools
from typing import Any

import matplotlib.style
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from figures.plot import gather
from figures.registry import PLOTS
from figures.rendering import STYLE


def laid_out(plot, found):
    """The figure as drawn in the style of the house, and its renderer."""
    with matplotlib.style.context(["default", STYLE]):
        figure = plot(found)
        canvas = FigureCanvasAgg(figure)
        figure.draw_without_rendering()
    return figure, canvas.get_renderer()


def complaints(figure, renderer):
    """What leaves the page, which words overlap, and which points a legend hides."""
    page, content = figure.bbox, figure.get_tightbbox(renderer).transformed(figure.dpi_scale_trans)
    found = (
        [] if page.padded(1).fully_containsx(content.x0) and page.padded(1).fully_containsx(content.x1) else ["wide"]
    )
    found += (
        [] if page.padded(1).fully_containsy(content.y0) and page.padded(1).fully_containsy(content.y1) else ["tall"]
    )
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in words(figure)]
    found += [f"{a} / {b}" for (a, first), (b, second) in itertools.combinations(boxes, 2) if first.overlaps(second)]
    return found + [f"{axes.get_title()}: {n} points hidden" for axes in figure.axes if (n := hidden(axes, renderer))]


def words(figure):
    """Texts that are shown, apart from the labels of ticks."""
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    return [text for text in figure.findobj(Text) if text not in ticks and text.get_visible() and text.get_text()]


def hidden(axes, renderer):
    """How many measured points lie behind the legend of the panel."""
    if axes.get_legend() is None:
        return 0
    box = axes.get_legend().get_window_extent(renderer)
    bars = [container[0].get_xydata() for container in axes.containers if isinstance(container, ErrorbarContainer)]
    return sum(box.contains(*axes.transData.transform(point)) for points in bars for point in points)


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_with_long_names_is_clean(name, long_out):
    found = gather(PLOTS[name], long_out)
    assert complaints(*laid_out(PLOTS[name].draw, found)) == []


def crowded(record):
    """A record with other numbers of curves, panels and rows than the default run has."""
    data = record.data
    if "patch_size" in data.dims:
        more = data.isel(patch_size=[0, 1, 1]).assign_coords(patch_size=[224, 112, 56])
        return [record._replace(data=more), record._replace(data=data.isel(patch_size=[0]))]
    if "attack" in data.dims:
        return [record._replace(data=data.isel(attack=a, defense=d)) for a, d in [([0], [0, 1, 2]), ([0, 2], [0])]]
    if "case" in data:
        apart = xr.DataArray(10.0 ** np.arange(5), dims="curve")
        network = data.isel(curve=[2, 3, 3, 2, 3])
        network = network.assign(second_moment=network["second_moment"] * apart)
        return [record._replace(data=d) for d in (network, xr.concat([data.isel(curve=[0]), network], "curve"))]
    if "surface" in data:
        return [
            record._replace(data=data.isel(defense=d, view=v)) for d, v in [([0], [0]), ([0, 1, 2, 2, 1], [0, 1, 0])]
        ]
    if "margin" in data:
        return [record._replace(data=data.isel(deviation=[2], defense=[1]))]
    return [record._replace(data=data.isel(row=rows)) for rows in ([10], [0, 30, 40], [0, 30, 40, 50], [0, 5, 10])]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLOTS)
def test_more_and_fewer_curves_panels_and_rows_are_clean(name, long_out):
    found = gather(PLOTS[name], long_out)
    (experiment,) = found
    for record in crowded(found[experiment]):
        assert complaints(*laid_out(PLOTS[name].draw, {experiment: record})) == [], dict(record.data.sizes)


def test_a_long_legend_leaves_room_for_the_points(out):
    record = gather(PLOTS["second-moment"], out)["moments"]
    many = record._replace(data=record.data.isel(curve=[2, 3] * 10))
    (axes,) = PLOTS["second-moment"].draw({"moments": many}).axes
    (bottom, top), high = np.log(axes.get_ylim()), np.log(float(many.data["second_moment"].max()))
    assert (high - bottom) / (top - bottom) > 0.3


@pytest.mark.parametrize("label", ["S1-lipschitz", "E1-sphere", "E5-loss", "P1-ratio", "C1-rate"])
def test_tightness_of_one_statement_draws_its_row(label, out):
    record = gather(PLOTS["tightness"], out)["verify"]
    alone = record._replace(data=record.data.isel(row=np.flatnonzero(record.data["label"].values == label)))
    figure = PLOTS["tightness"].draw({"verify": alone})
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [label]
    assert len(figure.axes) == 2
    assert any(np.size(line.get_xdata()) == 1 for line in figure.axes[0].get_lines())


def careless(title: str, label: str, loc: Any):
    """A function that draws a figure with a point, a title and a legend, as a careless hand would."""

    def draw(found):
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        axes.errorbar([0, 1], [0, 1], yerr=[0.1, 0.1], label=label, linestyle="none", marker="o")
        axes.set_title(title)
        axes.legend(loc=loc)
        return figure

    return draw


def test_negative_control_faults_are_seen():
    assert complaints(*laid_out(careless("short", "a", "upper left"), {})) == []
    assert complaints(*laid_out(careless("long " * 20, "a", "upper left"), {})) == ["wide"]
    assert complaints(*laid_out(careless("short", "a", "upper right"), {})) == ["short: 1 points hidden"]
    assert "short / above" in complaints(*laid_out(careless("short", "above", (0.3, 0.95)), {}))
