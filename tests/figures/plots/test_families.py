"""Which defences stand together, and what is drawn of them."""

import numpy as np
import pytest

from figures.plot import gather
from figures.plots.cost import grouped
from figures.plots.families import families_of
from figures.registry import PLOTS


def test_every_family_begins_with_the_network_alone():
    names = ["none", "jpeg", "dld:tau=3", "puridefense", "gaussian-noise:std=0.02"]
    assert families_of(names) == {
        "noise and filters": ["none", "jpeg", "gaussian-noise:std=0.02"],
        "shaped scores": ["none", "dld:tau=3"],
        "purifiers": ["none", "puridefense"],
    }
    assert families_of(["puridefense"]) == {"purifiers": ["puridefense"]}


def test_a_panel_for_each_family_and_attack(out):
    found = gather(PLOTS["families"], out)
    axes = PLOTS["families"].draw(found).axes
    assert len(axes) == 3  # one family, three attacks
    claimed = found["attack"].data.sel(attack="nes", defense="random-purifier").success.values
    curve = next(line for line in axes[0].get_lines() if line.get_label() == "random purifier")
    assert np.asarray(curve.get_ydata())[-1] == pytest.approx(1 - claimed.mean())


def test_costs_of_defences_that_differ_in_their_members(out):
    data = gather(PLOTS["cost"], out)["cost"].data
    curves, lines = grouped(data)
    assert curves == {"a": {1: "a:members=1", 4: "a"}, "b": {1: "b:members=1", 4: "b"}}
    assert lines == ["c"]
