"""Gradient masking: each check on attacks whose order is known, and the loss around an image in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.model import defended
from sims.attacks.attack import Threat
from sims.victims.losses import margin_loss
from sims.white_box.masking import CHECKS, find, probes
from sims.white_box.surface import loss_surface
from sims.white_box.table import build_white_box, is_white_box
from tests.sims.small_victims import images, labels_of, linear_classifier, no_defense, noise

NAMES = [check.name for check in CHECKS]
HONEST = {"base": 0.4, "one-step": 0.6, "longer": 0.38, "larger": 0.1, "unbounded": 0.0, "around": 0.5, "blind": 0.7}
HONEST["black-box"] = 0.6


def fallen(shares, count=200):
    """Images of which that share is still right, the same ones wherever two shares agree."""
    order = (np.arange(count) + 0.5) / count
    return {name: (order < share).astype(float) for name, share in shares.items()}


def findings(shares, classes=10):
    robust = fallen(shares)
    return {check.name: find(check, robust, classes) for check in CHECKS}


def test_an_honest_defense_is_not_flagged():
    assert not any(finding.flagged for finding in findings(HONEST).values())


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"larger": 0.6}, 0),
        ({"unbounded": 0.4}, 1),
        ({"larger": 0.4}, 0),  # gains nothing
        ({"longer": 0.5, "around": 0.6}, 2),
        ({"one-step": 0.2}, 3),
        ({"black-box": 0.1}, 4),
        ({"around": 0.1}, 5),
        ({"blind": 0.1}, 6),
    ],
)
def test_each_check_sees_its_own_sign(change, check):
    flagged = [name for name, finding in findings(HONEST | change).items() if finding.flagged]
    assert flagged == [NAMES[check]]


def test_luck_is_not_flagged():
    """Two attacks equally strong, on images that fall by a coin: 3 standard errors are passed once in 740 times."""
    rng = np.random.default_rng(0)
    check = CHECKS[2]
    flags = [
        find(check, {"longer": rng.integers(0, 2, 100) / 1, "base": rng.integers(0, 2, 100) / 1}, 10).flagged
        for _ in range(400)
    ]
    assert sum(flags) <= 4


def test_a_defense_that_nothing_breaks_is_flagged():
    """Fully masked: every gradient attack leaves everything."""
    robust = {name: np.ones(40) for name in HONEST}
    flagged = [check.name for check in CHECKS if find(check, robust, 10).flagged]
    assert flagged == NAMES[:2]


def test_one_image_more_is_not_flagged_and_all_images_are():
    right = np.zeros(50)
    one = right.copy()
    one[3] = 1
    assert not find(CHECKS[0], {"larger": one, "base": right}, 10).flagged
    assert find(CHECKS[0], {"larger": np.ones(50), "base": right}, 10).flagged


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_probes_are_attacks_and_do_what_their_names_say(norm):
    found = probes(norm, 0.1, 36, 20, 5)
    assert {name for check in CHECKS for name in (check.stronger, check.weaker) if name} == set(found)
    for name, probe in found.items():
        if name == "black-box":
            assert not is_white_box(probe.attack)
        else:
            build_white_box(probe.attack, Threat(norm, probe.epsilon))
    assert found["larger"].epsilon == 0.2
    assert found["unbounded"].epsilon == (0.5 if norm == "linf" else 3.0)
    assert found["blind"].attack.shared.route == "blind"
    assert found["around"].attack.shared.route == "around"


def test_the_surface_is_the_margin_along_the_gradient_and_across():
    """Along the gradient the margin of a linear network falls as steeply as it can; at the centre it is the image's."""
    classifier, image = linear_classifier(), images(1)[0]
    label = int(labels_of(classifier, image[None])[0])
    offsets = np.linspace(-0.05, 0.05, 5)
    model = defended(classifier, no_defense())
    surface = loss_surface(jax.random.key(0), model, "linf", image, label, offsets, draws=1, tile=4)
    scores = classifier.logits(classifier.params, image[None])
    centre = float(margin_loss(scores, jnp.array([label]))[0])
    assert surface.shape == (5, 5)
    assert surface[2, 2] == pytest.approx(centre, abs=1e-5)
    assert (np.diff(surface[:, 2]) < 0).all()
    assert surface[4, 2] < surface[2, :].min()  # no step of the same length across lowers it more


@pytest.mark.slow
def test_the_surface_of_a_random_defense_is_a_mean():
    classifier, image = linear_classifier(), images(1)[0]
    label = int(labels_of(classifier, image[None])[0])
    arguments = (defended(classifier, noise(0.2)), "linf", image, label, np.linspace(-0.05, 0.05, 3))
    few, many = (
        np.std([loss_surface(jax.random.key(k), *arguments, draws=n, tile=9)[1, 1] for k in range(8)]) for n in (1, 64)
    )
    assert many < few / 3
