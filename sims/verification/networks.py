"""Statements on real networks: the orthogonal one, whose constants are known, and a victim's estimates."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from defenses import zoo
from defenses.classifiers.orthogonal import lipschitz_constants
from defenses.data import digits
from defenses.files.folders import Folders
from defenses.model import Model, defended, undefended
from defenses.purifiers.family import PurifierFamily, outputs, patchwise_choice, random_choice
from sims.measurements import lipschitz as local_lipschitz
from sims.measurements.local_geometry import measure as local_geometry
from sims.verification.check import Check, loss_variance, once
from sims.verification.instances import second_moment
from sims.verification.smoothing import gradient_shift, value_shift
from sims.victims.losses import log_likelihood, margin_loss
from sims.victims.objectives import Objective, noisy_oracle
from sims.victims.oracle import oracle_of
from sims.victims.victim import Victim, VictimOptions, load_victim

MU, SIGMA, SAMPLES, DRAWS, PROBES, SEED = 0.1, 0.5, 20_000, 8192, 512, 0
NUMBERS_PER_BATCH = 2**20

BELOW = f"largest over a cloud of up to {MU:g} per pixel: from below"
CERTIFIED = frozenset({"S1-lipschitz", "S1-smooth", "S2-gradient", "E4-antithetic", "E4-antithetic-poincare"})
BEHIND_POOL = frozenset(
    {"E3-antithetic", "E4-antithetic", "E4-antithetic-poincare", "E5-loss", "E5-image"}
    | {"E4-popoviciu", "E4-diversity", "P1-ratio"}
)
SMOOTH = frozenset({"S1-smooth"})


class PoolConstants(NamedTuple):
    """Local estimates, from below, near one image of a victim and what its pool makes of it.

    margin_l0: L₀ of the margin. purifier_l0: L₀ of the pool's members.
    """

    margin_l0: float
    purifier_l0: float


def checks(
    key: Key[Array, ""],
    options: VictimOptions,
    folders: Folders,
    wanted: frozenset[str] = CERTIFIED | BEHIND_POOL | SMOOTH,
) -> tuple[list[Check], list[dict[str, Any]]]:
    """Rows on the orthogonal digits network and on the victim, and the victim's constants as a table.

    key: of what several rows share, such as V at the image. The networks and the image are those of seed 0.
    Networks are loaded or trained only where a wanted label needs them, the purifiers only for rows behind their pool.
    Raises ValueError as `load_victim` does.
    """
    rows, constants = [], []
    if wanted & (BEHIND_POOL | SMOOTH):
        victim = load_victim(options, (), 1, folders, SEED)
        if not victim.network.has_gradient:
            raise ValueError(f"model must have a gradient to be verified, {options.models} runs on the host")
        if wanted & BEHIND_POOL:
            family = zoo.purifier_family(options.dataset, SEED, folders)
            pool = estimate_pool(victim, family)
            constants += pool_table(options.title, pool)
            rows += _behind_pool(key, options.title, victim, family, pool)
        if wanted & SMOOTH:
            image = _cloud(victim.images, 64)
            smooth, label = zoo.is_smooth(options.model[0].name), int(victim.labels[0])
            curvature = local_lipschitz.likelihood_curvature(victim.network, image, label) if smooth else None
            constants.append(curvature_row(options.title, curvature))
            rows += _smooth(options.title, victim, curvature)
    if wanted & CERTIFIED:
        rows += _orthogonal(folders)
    return rows, constants


def _orthogonal(folders: Folders) -> Iterator[Check]:
    """Certified: exactly orthogonal layers, cross-entropy loss, Gaussian loss noise."""
    network = undefended(zoo.classifier("orthogonal", "digits", SEED, folders))
    known = lipschitz_constants(network.params)
    test = digits.load().test
    image = test.images[:1].reshape(-1)
    objective = _likelihood(
        "orthogonal network", network, test.images.shape[1:], int(test.labels[0]), known.cross_entropy_l0
    )
    objective = objective._replace(smoothness=known.cross_entropy_l1)
    lipschitz = {"d": image.size, "mu": MU, "L0": objective.lipschitz}
    smooth = {"d": image.size, "mu": MU, "L1": objective.smoothness}
    yield Check("S1-lipschitz", objective.name, lipschitz, value_shift(objective, image, MU, SAMPLES))
    yield Check("S1-smooth", objective.name, smooth, value_shift(objective, image, MU, SAMPLES))
    yield Check("S2-gradient", objective.name, smooth, gradient_shift(objective, image))
    oracle = noisy_oracle(objective, SIGMA)
    bound = lipschitz | {"V": SIGMA**2}
    measure = second_moment("antithetic", 1, MU, oracle, image, SAMPLES)
    for label in ("E4-antithetic", "E4-antithetic-poincare"):
        yield Check(label, objective.name, bound, measure)


def _likelihood(name: str, network: Model, shape: tuple[int, ...], label: int, lipschitz: float) -> Objective:
    """Log-likelihood of a label as a function of the flat image of that shape; L₁ is left open."""

    def value(params, x):
        images = x.reshape(-1, *shape)
        logits = network.scores(params, jax.random.split(jax.random.key(0), len(images)), images)
        return log_likelihood(logits, jnp.full(len(logits), label))

    def gradient(params, x):
        return jax.grad(lambda z: value(params, z[None])[0])(x)

    return Objective(name, math.prod(shape), network.params, value, gradient, lipschitz, math.inf)


def estimate_pool(victim: Victim, family: PurifierFamily) -> PoolConstants:
    """Local constants over clouds of radius MU per pixel around the victim's first image and its purified versions."""
    image, label = victim.images[:1], int(victim.labels[0])
    purified = np.asarray(outputs(family, jnp.asarray(image)))[:, 0]
    return PoolConstants(
        local_lipschitz.margin_slope(victim.network, _cloud(purified, 64), label),
        local_lipschitz.pool_slope(family, _cloud(image, 16)),
    )


def pool_table(title: str, constants: PoolConstants) -> list[dict[str, Any]]:
    """The constants as rows: quantity, value, and what the value is."""
    return [
        {"constant": f"L₀ of the margin, {title}", "value": constants.margin_l0, "note": BELOW},
        {"constant": "L₀ of the purifiers", "value": constants.purifier_l0, "note": BELOW},
    ]


def curvature_row(title: str, curvature: float | None) -> dict[str, Any]:
    """L₁ of the log-likelihood as a row; for a network without one, the smooth networks that could stand in."""
    smooth = ", ".join(name for name in zoo.CLASSIFIERS if zoo.is_smooth(name))
    note = f"does not exist: ReLU; smooth networks in its place: {smooth}" if curvature is None else BELOW
    return {"constant": f"L₁ of the log-likelihood, {title}", "value": curvature, "note": note}


def _behind_pool(
    key: Key[Array, ""], title: str, victim: Victim, family: PurifierFamily, constants: PoolConstants
) -> Iterator[Check]:
    """Estimated constants: the trained network behind the trained pool, at one image."""
    name = f"{title}, pool"
    image, label = victim.images[0], int(victim.labels[0])
    d, purified = image.size, np.asarray(outputs(family, jnp.asarray(victim.images)))[:, 0]
    network = victim.network
    losses = _member_losses(network, family, victim.images, label)[:, 0]
    distances = np.sqrt(((purified[:, None] - purified[None]) ** 2).sum(axis=(2, 3, 4)))
    nu2, worst, spread = float(np.sqrt((distances**2).mean())), float(distances.max()), float(np.ptp(losses))
    model = defended(network, random_choice(family))
    oracle, lipschitz = oracle_of(model, "loss"), constants.margin_l0
    geometry_key, moment_key, variance_key = jax.random.split(key, 3)
    at = local_geometry(geometry_key, model, victim.images, victim.labels, DRAWS)
    linear = {"d": d, "mu": 0.01, "grad": float(np.linalg.norm(at.gradient[0])), "V": float(losses.var())}
    linearised = second_moment("antithetic", 1, 0.01, oracle, image, SAMPLES, label=label)
    yield Check("E3-antithetic", f"{name}, linearised", linear, linearised, certified=False)
    moment = once(moment_key, second_moment("antithetic", 1, MU, oracle, image, SAMPLES, label=label))
    variance = once(variance_key, loss_variance(oracle, image, label, SAMPLES))
    shared = {"d": d, "mu": MU, "L0": lipschitz}
    supremum = _largest_variance(network, family, image, label)
    for bound in ("E4-antithetic", "E4-antithetic-poincare"):
        yield Check(bound, name, shared | {"V": supremum}, moment, certified=False)
    yield Check("E5-loss", name, shared | {"nu": spread}, moment, certified=False)
    image_level = {"d": d, "mu": MU, "L0f": lipschitz, "L0m": constants.purifier_l0, "nu": worst}
    yield Check("E5-image", name, image_level, moment, certified=False)
    yield Check("E4-popoviciu", name, {"Delta": spread}, variance, certified=False)
    yield Check("E4-diversity", name, {"L0f": lipschitz, "nu2": nu2}, variance, certified=False)
    patches = oracle_of(defended(network, patchwise_choice(family, image.shape[0] // 2)), "loss")
    patchwise = loss_variance(patches, image, label, 2 * SAMPLES)
    yield Check("P1-ratio", f"{name}, 2 × 2 patches", {"V": float(losses.var()), "P": 4}, patchwise, certified=False)


def _smooth(title: str, victim: Victim, curvature: float | None) -> Iterator[Check]:
    """Estimated L₁: the log-likelihood of a smooth network at one image; no row where L₁ does not exist."""
    if curvature is None:
        return
    image, label = victim.images[0], int(victim.labels[0])
    likelihood = _likelihood(f"{title}, log-likelihood", victim.network, image.shape, label, math.inf)
    values, batch = {"d": image.size, "mu": MU, "L1": curvature}, max(64, NUMBERS_PER_BATCH // image.size)
    shift = value_shift(likelihood, image.reshape(-1), MU, SAMPLES, batch)
    yield Check("S1-smooth", likelihood.name, values, shift, certified=False)


def _largest_variance(network: Model, family: PurifierFamily, image: np.ndarray, label: int) -> float:
    """The largest V among PROBES probes x + μu, in which a uniform draw of the pool is the whole randomness."""
    steps = np.random.default_rng(SEED).normal(size=(PROBES, *image.shape))
    return float(_member_losses(network, family, image + MU * steps, label).var(axis=0).max())


def _member_losses(network: Model, family: PurifierFamily, images: np.ndarray, label: int) -> np.ndarray:
    """(K, n) float64: the margin of every image behind every member of the pool."""
    purified = outputs(family, jnp.asarray(images, jnp.float32))
    rows = purified.reshape(-1, *images.shape[1:])
    scores = network.scores(network.params, jax.random.split(jax.random.key(SEED), len(rows)), rows)
    losses = margin_loss(scores, jnp.full(len(rows), label))
    return np.asarray(losses, np.float64).reshape(family.size, len(images))


def _cloud(points: np.ndarray, each: int) -> np.ndarray:
    """Every point and Gaussian neighbours of it, up to MU per pixel away; (len(points) · each, h, w, c) float32."""
    rng, distances = np.random.default_rng(SEED), np.linspace(0, MU, each)
    return np.concatenate([points + far * rng.normal(size=points.shape) for far in distances]).astype(np.float32)
