"""Statements on real networks: the orthogonal one, whose constants are known, and the trained victim's estimates."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from defenses import zoo
from defenses.classifiers.orthogonal import lipschitz_constants
from defenses.data import digits
from defenses.purifiers.family import outputs, patchwise_choice, random_choice
from sims.estimators.estimator import build_estimator
from sims.gradient_moments import gradient_moments
from sims.local_geometry import measure as local_geometry
from sims.losses import log_likelihood, margin_loss
from sims.objectives import Objective, noisy_oracle
from sims.oracle import loss_oracle
from sims.streaming import Estimate
from sims.verification.check import Check, Measure, loss_variance
from sims.verification.instances import second_moment
from sims.verification.smoothing import gradient_shift, value_shift
from sims.victims import load_victim

MU, SIGMA, SAMPLES, DRAWS, SEED = 0.1, 0.5, 20_000, 8192, 0


CERTIFIED = frozenset({"S1-lipschitz", "S1-smooth", "S2-gradient", "E4-antithetic"})
ESTIMATED = frozenset(
    {"E3-antithetic", "E4-antithetic", "E5-loss", "E5-image", "E4-popoviciu", "E4-diversity", "P1-ratio"}
)


def checks(models: Path, wanted: frozenset[str] = CERTIFIED | ESTIMATED) -> Iterator[Check]:
    """Rows on the two digits networks, loaded from `models` or trained only where a wanted label needs them."""
    if wanted & CERTIFIED:
        yield from _orthogonal(models)
    if wanted & ESTIMATED:
        yield from _victim(models)


def _orthogonal(models: Path) -> Iterator[Check]:
    """Certified: exactly orthogonal layers, cross-entropy loss, Gaussian loss noise."""
    network = zoo.classifier("orthogonal", "digits", SEED, models)
    constants = lipschitz_constants(network.params)
    test = digits.load().test
    image, label = test.images[0].reshape(-1), test.labels[0]

    def value(x):
        logits = network.logits(network.params, x.reshape(-1, *network.image_shape))
        return log_likelihood(logits, jnp.full(len(logits), label))

    def gradient(x):
        return jax.grad(lambda z: value(z[None])[0])(x)

    objective = Objective(
        "orthogonal network", image.size, value, gradient, constants.cross_entropy_l0, constants.cross_entropy_l1
    )
    lipschitz = {"d": image.size, "mu": MU, "L0": objective.lipschitz}
    smooth = {"d": image.size, "mu": MU, "L1": objective.smoothness}
    yield Check("S1-lipschitz", objective.name, lipschitz, value_shift(objective, image, MU, SAMPLES))
    yield Check("S1-smooth", objective.name, smooth, value_shift(objective, image, MU, SAMPLES))
    yield Check("S2-gradient", objective.name, smooth, gradient_shift(objective, image))
    oracle = noisy_oracle(objective, SIGMA)
    bound = lipschitz | {"V": SIGMA**2}
    yield Check("E4-antithetic", objective.name, bound, second_moment("antithetic", 1, MU, oracle, image, SAMPLES))


def _victim(models: Path) -> Iterator[Check]:
    """Estimated constants: the trained network behind the trained pool, at one image."""
    victim = load_victim("cnn", (), 1, models, SEED)
    family = zoo.purifier_family("digits", SEED, models)
    image, label = victim.images[0], int(victim.labels[0])
    d, purified = image.size, np.asarray(outputs(family, jnp.asarray(victim.images)))[:, 0]
    scores = victim.classifier.logits(victim.classifier.params, jnp.asarray(purified))
    losses = np.asarray(margin_loss(scores, jnp.full(family.size, label)), np.float64)
    distances = np.sqrt(((purified[:, None] - purified[None]) ** 2).sum(axis=(2, 3, 4)))
    lipschitz = _largest_gradient(victim.classifier, purified, label)
    nu2, worst, spread = float(np.sqrt((distances**2).mean())), float(distances.max()), float(np.ptp(losses))
    oracle = loss_oracle(victim.classifier, random_choice(family))
    at = local_geometry(
        jax.random.key(SEED), victim.classifier, random_choice(family), victim.images, victim.labels, DRAWS
    )
    linear = {"d": d, "mu": 0.01, "grad": float(np.linalg.norm(at.gradient[0])), "V": float(losses.var())}
    yield Check("E3-antithetic", "digits, pool, linearised", linear, _network_moment(oracle, 0.01, image, label), False)
    moment = _network_moment(oracle, MU, image, label)
    variance = loss_variance(oracle, image, label, SAMPLES)
    shared = {"d": d, "mu": MU, "L0": lipschitz}
    yield Check("E4-antithetic", "digits, pool", shared | {"V": float(losses.var())}, moment, False)
    yield Check("E5-loss", "digits, pool", shared | {"nu": spread}, moment, False)
    image_level = {"d": d, "mu": MU, "L0f": lipschitz, "L0m": 1.0, "nu": worst}
    yield Check("E5-image", "digits, pool, L₀(m) taken as 1", image_level, moment, False)
    yield Check("E4-popoviciu", "digits, pool", {"Delta": spread}, variance, False)
    yield Check("E4-diversity", "digits, pool", {"L0f": lipschitz, "nu2": nu2}, variance, False)
    patches = loss_oracle(victim.classifier, patchwise_choice(family, 4))
    patchwise = loss_variance(patches, image, label, 2 * SAMPLES)
    yield Check("P1-ratio", "digits, pool, patches of 4", {"V": float(losses.var()), "P": 4}, patchwise, False)


def _network_moment(oracle, radius: float, image: np.ndarray, label: int) -> Measure:
    def measure(key) -> Estimate:
        estimator = build_estimator("antithetic", radius, 1)
        return gradient_moments(key, estimator, oracle, image, label, np.zeros_like(image), SAMPLES).second_moment

    return measure


def _largest_gradient(classifier, points: np.ndarray, label: int) -> float:
    """Largest gradient norm of the margin near the purified images: a lower estimate of L₀(f)."""
    rng = np.random.default_rng(SEED)
    cloud = np.concatenate([points + MU * rng.normal(size=points.shape) for _ in range(64)]).astype(np.float32)

    def loss(x):
        return margin_loss(classifier.logits(classifier.params, x[None]), jnp.array([label]))[0]

    gradients = jax.jit(jax.vmap(jax.grad(loss)))(cloud)
    return float(jnp.sqrt((gradients**2).sum(axis=(1, 2, 3))).max())
