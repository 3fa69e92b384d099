"""The records that are shipped draw the pictures that are shipped beside them."""

from pathlib import Path

import pytest

from figures.registry import PLOTS
from sims.records import read

DATA = Path(__file__).resolve().parents[2] / "figures" / "data"
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


def test_the_quantizer_on_cifar10_hides_its_gradient():
    """Flagged; BPDA breaks it; PGD blind to it does not."""
    report = read(DATA / "cifar10" / "masking").manifest["report"]
    assert report["flagged"] == ["quantizer", "random-quantizer"]
    left = next(row for row in report["robust"] if row["defense"] == "quantizer")
    assert left["base"] > 0.8
    assert left["around"] < 0.05
    assert left["blind"] > 0.35


def test_noise_on_cifar10_reaches_its_limit():
    data = read(DATA / "cifar10" / "diversity").data
    ratio = data.noise_variance.sum("image") / data.noise_limit.sum("image")
    assert abs(float(ratio.sel(noise_level=1e-4)) - 1) <= 0.05
