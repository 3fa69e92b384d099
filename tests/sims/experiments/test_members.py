"""The report on the members of a pool, by hand."""

import numpy as np
import pytest
import xarray as xr

from sims.experiments.members import report


def data():
    """Two images, three members, one patch size."""
    dims = ("seen", "patch_size", "image")
    split = {
        "variance": [[[2.0, 4.0]], [[1.0, 1.0]]],
        "together": [[[2.0, 2.0]], [[1.0, 1.0]]],
        "apart": [[[3.0, 5.0]], [[0.5, 0.5]]],
        "alike": [[[0.1, 0.3]], [[0.0, 0.0]]],
        "seam": [[[0.0, 0.0]], [[0.02, 0.04]]],
    }
    columns: dict = {name: (dims, np.array(values)) for name, values in split.items()}
    columns["loss"] = (("image", "place"), np.array([[1.0, 4.0, 2.0], [0.0, 0.0, 3.0]]))
    columns["slope"] = (("image", "place"), np.array([[10.0, 10.0, 10.0], [10.0, 20.0, 30.0]]))
    return xr.Dataset(columns, {"seen": ["whole", "alone"], "patch_size": [4], "image": [0, 1], "place": [0, 1, 2]})


def found():
    return report(data(), {"side": 8, "config": {"smoothing_radius": 0.02}})


def test_rows_by_hand():
    whole, alone = found()["rows"]
    image_wise = np.var([1, 4, 2]) + np.var([0, 0, 3])
    assert (whole["seen"], whole["patches"], whole["least_by_P1"]) == ("whole", 4, 0.25)
    assert whole["ratio"] == pytest.approx(6 / image_wise)
    assert whole["ratio_to_first_order"] == pytest.approx(8 / 4)
    assert whole["correlation_of_patches"] == pytest.approx((4 / 8 - 1) / 3)
    assert (whole["alike"], whole["alike_by_P4"]) == (pytest.approx(0.2), pytest.approx(3.0**-4))
    assert whole["members_drawn"] == pytest.approx(3 * (1 - (2 / 3) ** 4))
    assert alone["ratio_to_first_order"] == pytest.approx(0.5)
    assert alone["seam"] == pytest.approx(0.03)


def test_levels_by_hand():
    """Gaps 1, 2 and 0, 3; a probe changes a loss by 0.4 and 0.8: the first image's members can be told apart."""
    levels = found()["levels"]
    assert levels["median_gap"] == 1.5
    assert levels["median_least_gap"] == 0.5
    assert levels["median_spread"] == pytest.approx(0.6)
    assert levels["images_told_apart"] == 0.5
