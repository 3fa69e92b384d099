"""V of Gaussian noise in front of a linear classifier is its limit; in front of a curved one it is not."""

import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.classifier import Classifier
from defenses.files.folders import Folders
from defenses.model import undefended
from defenses.zoo import read_model
from sims.measurements import noise_diversity
from sims.victims.victim import Victim, VictimOptions, load_victim
from tests.paths import DATA

LEVELS = (0.01, 0.1, 1.0)
DRAWS = 40_000


def victim(bend: float) -> Victim:
    """Two classes with margin ⟨w, x⟩ + bend·‖x‖²."""
    slope = jnp.asarray(np.random.default_rng(0).normal(size=12), jnp.float32)

    def logits(params, images):
        flat = images.reshape(len(images), -1)
        return jnp.stack([flat @ params + bend * (flat**2).sum(1), jnp.zeros(len(flat))], axis=1)

    network = undefended(Classifier("toy", slope, logits, (2, 2, 3), 2, True))
    images = np.random.default_rng(1).uniform(0.2, 0.8, (3, 2, 2, 3)).astype(np.float32)
    return Victim({}, {"toy": network}, images, np.zeros(3, np.int32), np.arange(3))


def measured(bend: float):
    calls = []
    data = noise_diversity.measure(victim(bend), LEVELS, DRAWS, 5, lambda done, total: calls.append((done, total)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return data


def test_linear_loss_sits_on_its_limit():
    data = measured(0.0)
    slope = np.linalg.norm(np.random.default_rng(0).normal(size=12))
    np.testing.assert_allclose(data.noise_limit, (np.array(LEVELS) ** 2)[:, None] * slope**2 * np.ones(3), rtol=1e-5)
    gap = np.abs(data.noise_variance - data.noise_limit)
    assert (gap <= 4 * data.noise_variance_standard_error).all()
    assert (data.noise_variance_standard_error <= 0.01 * data.noise_limit).all()


@pytest.mark.slow
def test_curved_loss_leaves_its_limit_when_the_noise_is_large():
    data = measured(1.0)
    gap = (data.noise_variance - data.noise_limit) / data.noise_variance_standard_error
    assert (np.abs(gap[0]) <= 4).all()
    assert (gap[2] > 10).all()


@pytest.mark.slow
def test_published_resnet20_sits_within_five_per_cent_of_its_limit(tmp_path):
    if not (DATA / "weights" / "resnet20-12fca82f.th").is_file():
        pytest.skip("no published ResNet-20 in data/weights")
    options, folders = VictimOptions((read_model("resnet20"),), "cifar10"), Folders(tmp_path, DATA)
    network = load_victim(options, (), 16, folders, 0)
    data = noise_diversity.measure(network, (1e-4, 1e-2), 2048, 0, lambda done, total: None)
    total = data.noise_limit.sum("image")
    ratio = data.noise_variance.sum("image") / total
    error = np.sqrt((data.noise_variance_standard_error**2).sum("image")) / total
    assert error[0] <= 0.0125  # four of them are the five per cent
    assert abs(ratio[0] - 1) <= 0.05
    assert ratio[1] < 0.9  # negative control: large noise is not linear
