"""What each figure shows: points are the record's, lines the theory's, axes carry symbol and unit."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer

from figures import scans
from figures.plot import gather
from figures.plots import convergence, diversity, second_moment, tightness
from figures.plots.robust_accuracy import shares, survivors
from figures.registry import PLOTS
from sims.intervals import Z, mean_and_half_width
from theory.catalogue import CATALOGUE, find


@pytest.fixture
def drawn(out):
    """Name to (figure, records)."""

    def draw(name):
        found = gather(PLOTS[name], out)
        return PLOTS[name].draw(found), found

    return draw


def errorbars(axes):
    """(x, y, half widths) of every set of measured points of a panel."""
    bars = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    found = []
    for points, _, (segments,) in bars:
        low, high = np.array(segments.get_segments())[:, :, 1].T
        found.append((*points.get_data(), (high - low) / 2))
    return found


def lines(axes, style="-"):
    return [line.get_data() for line in axes.get_lines() if line.get_linestyle() == style and len(line.get_xdata()) > 2]


LABELS = {
    "second-moment": [("μ (units of x)", "loss² per x²"), ("μ (pixel units)", "loss² per pixel unit²")],
    "convergence": [("step t  (16 queries each)", "(loss)"), ("step t", "(logit units)")],
    "diversity": [("K", "V  (logit units²)"), ("K", "ν  (pixel units)"), ("K", "ν₂  (pixel units)")],
    "noise-variance": [("σ  (pixel units)", "V  (logit units²)"), ("σ", "σ²‖∇f‖²")],
    "robust-accuracy": [("queries  (rows; budget 200)", "% of images"), ("queries", ""), ("queries", "")],
}


@pytest.mark.parametrize("name", LABELS)
def test_axes_carry_symbol_and_unit(name, drawn):
    figure, _ = drawn(name)
    assert len(figure.axes) == len(LABELS[name])
    for axes, (x, y) in zip(figure.axes, LABELS[name], strict=True):
        assert x in axes.get_xlabel()
        assert y in axes.get_ylabel()
        assert axes.get_title()


def test_second_moment_points_lines_and_axes(drawn):
    figure, found = drawn("second-moment")
    data = found["moments"].data
    points = [entry for axes in figure.axes for entry in errorbars(axes)]
    curves = [entry for axes in figure.axes for entry in lines(axes)]
    assert len(points) == len(curves) == 4
    for curve, ((x, y, half), (fine, line)) in enumerate(zip(points, curves, strict=True)):
        cell = data.isel(curve=curve)
        np.testing.assert_allclose(x, cell.smoothing_radius)
        np.testing.assert_allclose(y, cell.second_moment)
        np.testing.assert_allclose(half, Z * cell.second_moment_standard_error)
        assert len(fine) >= 100
        exact = find("E3-antithetic")(d=64, grad=float(cell.gradient_norm), V=float(cell.variance), mu=fine[7])
        assert line[7] == pytest.approx(exact)
        np.testing.assert_allclose(line[[0, -1]], cell.predicted_second_moment[[0, -1]])
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    legend = figure.axes[1].get_legend()
    assert "E3 of the linearised loss" in [text.get_text() for text in legend.get_texts()]
    assert "measured, 95 % interval" in [text.get_text() for text in legend.get_texts()]


def test_second_moment_of_other_estimators_connects_the_record(record):
    moments = record("moments")
    config = {**moments.manifest["config"], "estimator": "forward"}
    x, y = second_moment.predicted_curve(moments._replace(manifest={"config": config}), 1)
    np.testing.assert_array_equal(x, moments.data.smoothing_radius)
    np.testing.assert_array_equal(y, moments.data.predicted_second_moment[1])


def test_several_directions_divide_the_spread(record):
    """E2-shared: E‖ḡ‖² = ‖∇F̄‖² + (E‖g‖² − ‖∇F̄‖²)/q."""
    moments = record("moments")
    config = {**moments.manifest["config"], "num_directions": 4}
    _, four = second_moment.predicted_curve(moments._replace(manifest={"config": config}), 3)
    _, one = second_moment.predicted_curve(moments, 3)
    np.testing.assert_allclose(four - 144, (one - 144) / 4)


def test_convergence_points_recursion_and_floor(drawn):
    figure, found = drawn("convergence")
    data, (left, right) = found["convergence"].data, figure.axes
    for i, ((x, y, half), (_, path)) in enumerate(zip(errorbars(left), lines(left), strict=True)):
        np.testing.assert_allclose(y, data.objective.values[i, x])
        np.testing.assert_allclose(half, Z * data.objective_standard_error.values[i, x])
        np.testing.assert_allclose(path, data.predicted_objective[i])
    floors = [line.get_ydata()[0] for line in left.get_lines() if line.get_linestyle() == "--"]
    np.testing.assert_allclose(floors, data.predicted_floor[1:])
    assert left.get_yscale() == "log"
    assert len(right.collections) >= 3
    for i, (x, y, half) in enumerate(errorbars(right)):
        np.testing.assert_allclose(y, data.margin.values[i, x])
        np.testing.assert_allclose(half, Z * data.margin_standard_error.values[i, x])


def test_margin_is_drawn_until_every_defence_is_long_fooled():
    margin = np.array([[4.0, 0, -4, -9, -12], [5.0, 3, 1, -6, -12]])
    assert convergence.told_steps(margin) == 4
    assert convergence.told_steps(margin[:, :3]) == 3


def test_noise_variance_points_and_limit(drawn):
    figure, found = drawn("noise-variance")
    data = found["diversity"].data
    left, right = figure.axes
    ((levels, variance, _),) = errorbars(left)
    np.testing.assert_allclose(variance, data["noise_variance"].mean("image"))
    limit = next(y for x, y in lines(left) if len(x) == len(levels))
    np.testing.assert_allclose(limit, data["noise_limit"].mean("image"))
    ((_, ratio, half_width),) = errorbars(right)
    np.testing.assert_allclose(ratio, [1.02, 0.97, 0.6])
    total = data["noise_limit"].sum("image")
    np.testing.assert_allclose(half_width, Z * 0.03 * np.sqrt((data["noise_limit"] ** 2).sum("image")) / total)


def test_diversity_points_and_p2(drawn):
    figure, found = drawn("diversity")
    data = found["diversity"].data
    shown = [data.variance, np.sqrt(data.nu_squared), np.sqrt(data.nu2_squared)]
    for axes, quantity in zip(figure.axes, shown, strict=True):
        for patch, (x, y, half) in zip(data.patch_size.values, errorbars(axes), strict=True):
            mean, width = mean_and_half_width(quantity.sel(patch_size=patch), "image")
            np.testing.assert_allclose(y, mean)
            np.testing.assert_allclose(half, width)
            np.testing.assert_array_equal(np.round(x), data.pool_size)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["whole image", "patches 4 × 4"]
    means = data.variance.sel(patch_size=4).mean("image")
    sizes, line = diversity.predicted_variance(found["diversity"], 4)
    np.testing.assert_array_equal(sizes, np.arange(2, 9))
    np.testing.assert_allclose(line[[0, 2, 6]], means)  # the synthetic V follows P2
    np.testing.assert_allclose(lines(figure.axes[0])[1][1], line)


def test_tightness_shows_every_row_and_marks_what_it_should(drawn):
    figure, found = drawn("tightness")
    data = found["verify"].data
    wide = figure.axes[::2]
    assert wide[0].get_xscale() == "log"
    assert "no unit" in wide[-1].get_xlabel()
    ticks = [tick.get_text() for axes in wide for tick in axes.get_yticklabels()]
    assert ticks == list(CATALOGUE)
    seen = {}
    for axes in wide:
        names = [tick.get_text() for tick in axes.get_yticklabels()]
        for line in axes.get_lines():
            if len(line.get_xdata()) == 1:
                seen.setdefault(names[int(line.get_ydata()[0])], []).append(line)
    rings = [name for name, marks in seen.items() if len(marks) == 2]
    assert rings == [str(label) for label in data.label.values[data.violated.values]]
    for i in range(data.sizes["row"]):
        row = data.isel(row=i)
        mark = seen[row.label.item()][0]
        ratio = max(row.tightness.item(), tightness.LEFT)
        assert mark.get_xdata()[0] == pytest.approx(ratio)
        assert mark.get_marker() == (tightness.MARKERS[row.sense.item()] if ratio > tightness.LEFT else "|")
        assert mark.get_color() == tightness.COLOURS[row.status.item()]
        assert (mark.get_markerfacecolor() == "white") == (not row.certified.item())


def test_tightness_keeps_the_catalogue_order_and_unknown_sections():
    groups = tightness.sections(np.array(["Z9-new", "E3-forward", "S3-lipschitz", "S1-lipschitz", "E3-forward"]))
    assert groups == {"S": ["S1-lipschitz", "S3-lipschitz"], "E": ["E3-forward"], "Z": ["Z9-new"]}


def test_ratio_without_a_bound_or_below_the_axis_lies_on_the_edge():
    shown = tightness.shown_ratio(np.array([-1.0, np.nan, 1e-9, 0.5]))
    np.testing.assert_array_equal(shown, [tightness.LEFT] * 3 + [0.5])


def test_robust_accuracy_counts_an_image_as_fooled_from_its_queries_on(drawn):
    figure, found = drawn("robust-accuracy")
    data = found["attack"].data
    assert [axes.get_title() for axes in figure.axes] == ["NES", "Square", "null: clean image resubmitted"]
    for j, axes in enumerate(figure.axes):
        assert axes.get_xscale() == "log"
        curves = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
        assert len(curves) == len(axes.containers) == 3
        for i, (line, beside) in enumerate(zip(curves, axes.containers, strict=True)):
            cell = data.isel(attack=j, defense=i)
            for count, share in zip(*line.get_data(), strict=True):
                fooled = sum(bool(s) and q <= count for s, q in zip(cell.success, cell.queries, strict=True))
                assert share == pytest.approx(1 - fooled / 20)
            assert line.get_ydata()[-1] == pytest.approx(1 - cell.success.mean())
            [place], [left] = beside.lines[0].get_data()
            assert 200 < place < axes.get_xlim()[1]
            assert left == pytest.approx(1 - cell.fooled.mean() / (10 if i else 1))
            assert beside.lines[0].get_color() == line.get_color()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "average purifier (deterministic)"
    assert labels[1] == "random purifier (randomised)"


def test_survivors_on_a_case_by_hand(record):
    cell = record("attack").data.isel(attack=0, defense=0, image=slice(0, 4)).copy()
    cell["queries"].values[:] = [1, 50, 190, 50]
    cell["success"].values[:] = [True, True, False, True]
    counts, standing = survivors(cell, 200)
    assert counts.tolist() == [1, 50, 200]
    assert standing.tolist() == [3, 1, 1]


def test_the_bands_of_robust_accuracy_against_published_values():
    value, low, high = shares(np.array([0, 5, 10]), 10)  # Brown, Cai and DasGupta (2001)
    np.testing.assert_allclose(value, [0, 0.5, 1])
    np.testing.assert_allclose(low, [0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1], atol=1e-4)


def test_scans_are_the_images_of_the_record(drawn):
    figure, found = drawn("scans")
    data = found["attack"].data.isel(attack=0)
    panels = np.array(figure.axes).reshape(data.sizes["shown"], 7)
    for row in range(data.sizes["shown"]):
        cell = data.isel(image=row, shown=row)  # labels 0, 1, 2, … come first
        assert panels[row, 0].get_ylabel() == f"label {row}"
        np.testing.assert_allclose(panels[row, 0].images[0].get_array(), cell.shown_clean.values[..., 0])
        for i in range(3):
            attacked, purified = panels[row, 1 + 2 * i : 3 + 2 * i]
            np.testing.assert_allclose(attacked.images[0].get_array(), cell.shown_adversarial.values[i, ..., 0])
            np.testing.assert_allclose(purified.images[0].get_array(), cell.shown_purified.values[i, ..., 0])
            outcome = "fooled" if cell.success[i] else "resisted"
            assert attacked.get_xlabel() == f"{outcome}, {cell.queries.values[i]} queries"
            assert attacked.images[0].get_clim() == (0, 1)
            edges = {to_rgba(axes.spines["left"].get_edgecolor()) for axes in (attacked, purified)}
            assert edges == {to_rgba("C1" if cell.success[i] else "C0")}


def test_colour_images_are_drawn_in_colour(record):
    found = record("attack", lambda data: data.isel(channel=[0, 0, 0]))
    figure = scans.PLOT.draw({"attack": found})
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (8, 8, 3)


def test_loss_surfaces_are_the_records(drawn):
    figure, found = drawn("loss-surface")
    data = found["masking"].data
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert [axes.get_title().split("\n")[-1] for axes in panels[:3]].count("flagged") == 1
    for row in range(2):
        for i in range(3):
            [image] = panels[3 * row + i].images
            np.testing.assert_allclose(image.get_array(), data.surface.values[i, row])
            assert image.get_clim()[0] == -image.get_clim()[1]  # white is the boundary
    assert "a / ε" in panels[0].get_ylabel()
    assert "b / ε" in panels[-1].get_xlabel()


PERTURBED = {
    "second-moment": ("moments", "second_moment"),
    "convergence": ("convergence", "objective"),
    "diversity": ("diversity", "nu_squared"),
    "noise-variance": ("diversity", "noise_variance"),
    "tightness": ("verify", "tightness"),
    "robust-accuracy": ("attack", "queries"),
    "families": ("attack", "queries"),
    "cost": ("cost", "members"),
    "scans": ("attack", "shown_purified"),
    "loss-surface": ("masking", "surface"),
}


def content(figure):
    """Every number that a figure shows."""
    drawn = [np.ravel(line.get_data()).astype(float) for axes in figure.axes for line in axes.get_lines()]
    drawn += [np.ravel(image.get_array()) for axes in figure.axes for image in axes.images]
    return np.concatenate(drawn)


def test_a_changed_report_changes_what_is_drawn_from_it(drawn, record):
    assert set(PLOTS) - set(PERTURBED) == {"claims"}
    figure, found = drawn("claims")
    changed = record("attack")
    changed.manifest["report"]["rows"][1]["robust_average_of_n"] = 0.97
    again = PLOTS["claims"].draw({**found, "attack": changed})
    assert places(figure) != places(again)


def places(figure):
    return [float(x) for axes in figure.axes for line in axes.get_lines() for x in np.atleast_1d(line.get_xdata())]


def test_claims_stand_beside_fresh_draws_of_the_same_attack(drawn):
    """Defences that were drawn once have no panel; the lowest claim stands on top; every mark is at its number."""
    figure, found = drawn("claims")
    rows = found["attack"].manifest["report"]["rows"]
    assert [axes.get_title() for axes in figure.axes] == ["random purifier", "patchwise purifier"]
    for axes in figure.axes:
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["null", "square", "nes"]
        for place, name in enumerate(names):
            [row] = [r for r in rows if (r["attack"], r["defense"].replace("-", " ")) == (name, axes.get_title())]
            shown = {float(x) for line in axes.get_lines() for x, y in zip(*line.get_data(), strict=True) if y == place}
            for number in ("robust_accuracy", "robust_average_of_n", "robust_worst_of_n"):
                assert min(abs(x - 100 * row[number]) for x in shown) < 1e-9


@pytest.mark.parametrize("name", PERTURBED)
def test_negative_control_a_changed_record_changes_the_figure(name, drawn, record):
    experiment, variable = PERTURBED[name]
    figure, found = drawn(name)
    changed = record(experiment, lambda data: data.assign({variable: data[variable] // 2 + data[variable] / 4}))
    again = PLOTS[name].draw(found)
    np.testing.assert_array_equal(content(figure), content(again))
    altered = content(PLOTS[name].draw({**found, experiment: changed}))
    assert altered.shape != content(figure).shape or not np.allclose(altered, content(figure))
