"""Statements on real networks: the orthogonal one, whose constants are known, and a victim's estimates."""

import math
from collections.abc import Callable, Iterator
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
from defenses.purifiers.pools.family import PurifierFamily, outputs, patchwise_choice, random_choice
from sims.measurements import lipschitz as local_lipschitz
from sims.measurements.local_geometry import measure as local_geometry
from sims.verification.check import Check, Measure, loss_variance, once
from sims.verification.instances import second_moment
from sims.verification.smoothing import gradient_shift, value_shift
from sims.victims.losses import log_likelihood, margin_loss
from sims.victims.objectives import Objective, noisy_oracle
from sims.victims.oracle import oracle_of
from sims.victims.victim import Victim, VictimOptions, load_victim

MU, LINEAR_MU, SIGMA, SAMPLES, DRAWS, PROBES, SEED = 0.1, 0.01, 0.5, 20_000, 8192, 512, 0
NUMBERS_PER_BATCH = 2**20

BELOW = f"largest over a cloud of up to {MU:g} per pixel: from below"


class Orthogonal(NamedTuple):
    """The orthogonal network's log-likelihood, its constants known, and the image at which it is measured."""

    objective: Objective
    image: np.ndarray

    @property
    def lipschitz(self) -> dict[str, float]:
        """Values of the statements about a Lipschitz loss."""
        return {"d": self.image.size, "mu": MU, "L0": self.objective.lipschitz}

    @property
    def smooth(self) -> dict[str, float]:
        """Values of the statements about a smooth loss."""
        return {"d": self.image.size, "mu": MU, "L1": self.objective.smoothness}

    def shift(self) -> Measure:
        """How far smoothing moves the loss."""
        return value_shift(self.objective, self.image, MU, SAMPLES)

    def moment(self) -> Measure:
        """E‖g‖² under Gaussian loss noise."""
        return second_moment("antithetic", 1, MU, noisy_oracle(self.objective, SIGMA), self.image, SAMPLES)


class BehindPool(NamedTuple):
    """What the rows on a victim's network behind its pool of purifiers take, at one image.

    at_image: d and μ. l0, l0_purifier: local Lipschitz constants of the margin and of the pool's members. gradient:
    ‖∇F̄‖. v, largest_v: V at the image, and the largest among probes. worst, nu2: diversity of the purified images.
    spread: of their losses. linearised, moment: E‖g‖² at a small radius and at μ. variance, patchwise: V at the image,
    one purifier drawn an image, and one a patch.
    """

    at_image: dict[str, float]
    l0: float
    l0_purifier: float
    gradient: float
    v: float
    largest_v: float
    worst: float
    nu2: float
    spread: float
    linearised: Measure
    moment: Measure
    variance: Measure
    patchwise: Measure


def _largest_noise(it: BehindPool) -> dict[str, float]:
    return it.at_image | {"L0": it.l0, "V": it.largest_v}


ORTHOGONAL_ROWS: dict[str, Callable[[Orthogonal], tuple[dict[str, float], Measure]]] = {
    "S1-lipschitz": lambda it: (it.lipschitz, it.shift()),
    "S1-smooth": lambda it: (it.smooth, it.shift()),
    "S2-gradient": lambda it: (it.smooth, gradient_shift(it.objective, it.image)),
    "E4-antithetic": lambda it: (it.lipschitz | {"V": SIGMA**2}, it.moment()),
    "E4-antithetic-poincare": lambda it: (it.lipschitz | {"V": SIGMA**2}, it.moment()),
}
"""The statements checked on the orthogonal network: their values and measurement there."""

POOL_ROWS: dict[str, Callable[[BehindPool], tuple[str, dict[str, float], Measure]]] = {
    "E3-antithetic": lambda it: (
        ", linearised",
        it.at_image | {"mu": LINEAR_MU, "grad": it.gradient, "V": it.v},
        it.linearised,
    ),
    "E4-antithetic": lambda it: ("", _largest_noise(it), it.moment),
    "E4-antithetic-poincare": lambda it: ("", _largest_noise(it), it.moment),
    "E5-loss": lambda it: ("", it.at_image | {"L0": it.l0, "nu": it.spread}, it.moment),
    "E5-image": lambda it: ("", it.at_image | {"L0f": it.l0, "L0m": it.l0_purifier, "nu": it.worst}, it.moment),
    "E4-popoviciu": lambda it: ("", {"Delta": it.spread}, it.variance),
    "E4-diversity": lambda it: ("", {"L0f": it.l0, "nu2": it.nu2}, it.variance),
    "P1-ratio": lambda it: (", 2 × 2 patches", {"V": it.v, "P": 4}, it.patchwise),
}
"""The statements checked behind a pool: what is added to the row's name, their values and measurement there."""

SMOOTH_ROW = "S1-smooth"
CERTIFIED, BEHIND_POOL, SMOOTH = frozenset(ORTHOGONAL_ROWS), frozenset(POOL_ROWS), frozenset({SMOOTH_ROW})


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
    it = Orthogonal(objective._replace(smoothness=known.cross_entropy_l1), image)
    for label, row in ORTHOGONAL_ROWS.items():
        values, measure = row(it)
        yield Check(label, objective.name, values, measure)


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
    it = _measured_behind_pool(key, victim, family, constants)
    for label, row in POOL_ROWS.items():
        added, values, measure = row(it)
        yield Check(label, f"{title}, pool{added}", values, measure, certified=False)


def _measured_behind_pool(
    key: Key[Array, ""], victim: Victim, family: PurifierFamily, constants: PoolConstants
) -> BehindPool:
    image, label, network = victim.images[0], int(victim.labels[0]), victim.network
    purified = np.asarray(outputs(family, jnp.asarray(victim.images)))[:, 0]
    losses = _member_losses(network, family, victim.images, label)[:, 0]
    distances = np.sqrt(((purified[:, None] - purified[None]) ** 2).sum(axis=(2, 3, 4)))
    model = defended(network, random_choice(family))
    oracle = oracle_of(model, "loss")
    patches = oracle_of(defended(network, patchwise_choice(family, image.shape[0] // 2)), "loss")
    geometry_key, moment_key, variance_key = jax.random.split(key, 3)
    at = local_geometry(geometry_key, model, victim.images, victim.labels, DRAWS)
    return BehindPool(
        at_image={"d": image.size, "mu": MU},
        l0=constants.margin_l0,
        l0_purifier=constants.purifier_l0,
        gradient=float(np.linalg.norm(at.gradient[0])),
        v=float(losses.var()),
        largest_v=_largest_variance(network, family, image, label),
        worst=float(distances.max()),
        nu2=float(np.sqrt((distances**2).mean())),
        spread=float(np.ptp(losses)),
        linearised=second_moment("antithetic", 1, LINEAR_MU, oracle, image, SAMPLES, label=label),
        moment=once(moment_key, second_moment("antithetic", 1, MU, oracle, image, SAMPLES, label=label)),
        variance=once(variance_key, loss_variance(oracle, image, label, SAMPLES)),
        patchwise=loss_variance(patches, image, label, 2 * SAMPLES),
    )


def _smooth(title: str, victim: Victim, curvature: float | None) -> Iterator[Check]:
    """Estimated L₁: the log-likelihood of a smooth network at one image; no row where L₁ does not exist."""
    if curvature is None:
        return
    image, label = victim.images[0], int(victim.labels[0])
    likelihood = _likelihood(f"{title}, log-likelihood", victim.network, image.shape, label, math.inf)
    values, batch = {"d": image.size, "mu": MU, "L1": curvature}, max(64, NUMBERS_PER_BATCH // image.size)
    shift = value_shift(likelihood, image.reshape(-1), MU, SAMPLES, batch)
    yield Check(SMOOTH_ROW, likelihood.name, values, shift, certified=False)


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
