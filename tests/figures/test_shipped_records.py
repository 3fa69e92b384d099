"""The records that are shipped draw the pictures that are shipped beside them."""

import shutil

import numpy as np
import pytest

from figures.command_line import main
from figures.plots import claims
from figures.registry import PLOTS
from sims.records.store import read
from tests.paths import SHIPPED as DATA

SHIPPED = [
    ("second-moment", "moments", ".", 2),
    ("second-moment", "moments", "cifar10", 1),
    ("noise-variance", "diversity", "cifar10", 2),
    ("loss-surface", "masking", "cifar10", 4),  # three defences and the scale
]


@pytest.mark.parametrize(("name", "experiment", "folder", "panels"), SHIPPED)
def test_shipped_record_draws_its_picture(name, experiment, folder, panels):
    record = read(DATA / folder / experiment)
    figure = PLOTS[name].draw({experiment: record})
    assert len(figure.axes) == panels
    assert (DATA / folder / f"{name}.png").stat().st_size > 10_000
    assert not [word for word in record.manifest["argv"] if "/" in word]


@pytest.mark.parametrize("quantizer", ["quantizer:levels=6", "random-quantizer:levels=12"])
def test_a_quantizer_on_cifar10_hides_its_gradient(quantizer):
    """Flagged; BPDA, with EOT where it is random, breaks it; the exact gradient does not, and blind PGD far less.

    Blind to the rounding it leaves half of what was right; blind to the coin, a third.
    """
    record = read(DATA / "cifar10" / "masking")
    assert record.manifest["report"]["flagged"] == ["quantizer:levels=6", "random-quantizer:levels=12"]
    left, clean = (record.data[name].sel(defense=quantizer) for name in ("robust", "clean"))
    around, blind = (left.sel(probe=probe).values for probe in ("around", "blind"))
    assert min(left.sel(probe=["base", "longer"]).mean("image").values) > 0.85 * clean.values.mean()
    assert around.mean() < 0.05
    assert blind.mean() >= (0.5 if quantizer == "quantizer:levels=6" else 0.33) * clean.values.mean()
    gap = blind - around
    assert gap.mean() > 0.2
    assert gap.mean() > 4 * gap.std(ddof=1) / np.sqrt(len(gap))


def test_noise_on_cifar10_reaches_its_limit():
    data = read(DATA / "cifar10" / "diversity").data
    ratio = data.noise_variance.sum("image") / data.noise_limit.sum("image")
    assert abs(float(ratio.sel(noise_level=1e-4)) - 1) <= 0.05


def test_what_attacks_claim_of_a_random_defence_is_too_low():
    """No claim is above what fresh draws leave, but for 5 %, the width of an interval."""
    record = read(DATA / "random-victims" / "linf" / "attack" / "digits")
    panels = claims.by_defense(record.manifest["report"]["rows"])
    assert list(panels) == ["gaussian-noise:std=0.1", "patchwise-purifier"]
    assert all(len(rows) == 16 for rows in panels.values())
    for row in record.manifest["report"]["rows"]:
        assert row["robust_accuracy"] <= row["robust_average_of_n"] + 0.05
    assert not [word for word in record.manifest["argv"] if "/" in word]
    assert (DATA / "random-victims" / "claims.png").stat().st_size > 10_000


def test_the_command_finds_a_shipped_record_whatever_the_code_is(tmp_path):
    """A record is drawn by what it holds: its key, which an edit may change, is no matter here."""
    shutil.copytree(DATA / "random-victims" / "linf", tmp_path / "linf")
    assert main(["claims", "--out", str(tmp_path / "linf")]) == 0
    assert (tmp_path / "linf" / "figures" / "claims.png").stat().st_size > 10_000
