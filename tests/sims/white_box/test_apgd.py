"""Auto-PGD against its algorithm, written down once more with arrays and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.attack import Threat
from sims.victims.oracle import Answer
from sims.white_box.apgd import Apgd, apgd, window_lengths
from sims.white_box.gradients import Slope

SHAPE = (5, 5, 1)
CURVES = np.random.default_rng(3).normal(size=(3, 25)).astype(np.float32)


@jax.jit
def loss_and_gradient(image):
    """A loss with many valleys."""
    return jax.value_and_grad(lambda x: jnp.sum(jnp.sin(3 * jnp.asarray(CURVES) @ x.reshape(-1))))(image)


def projected(norm, point, clean, epsilon):
    if norm == "linf":
        return np.clip(np.clip(point, clean - epsilon, clean + epsilon), 0, 1)
    move = np.clip(point, 0, 1) - clean
    return clean + move * min(1, epsilon / max(np.linalg.norm(move), 1e-12))


def by_hand(norm, clean, start, epsilon, steps, rho=0.75):
    """Algorithm 1 of Croce & Hein (2020), minimising: every image asked, and the step size it was left with.

    A halving puts the best point in the place of the iterate: the inertia of the step after it is counted from there.
    """
    checkpoints, share, last = [], 0.22, 0.0
    while round(share * steps, 6) < steps:
        checkpoints.append(int(round(share * steps, 6)))
        last, share = share, share + max(share - last - 0.03, 0.06)
    x, path, eta = [start], [], 2 * epsilon
    losses, sizes = [], []
    best: tuple = (np.inf, None, None)
    at_last_check, halved_last, mark = None, True, 0
    for k in range(steps + 1):
        loss, gradient = (np.asarray(part) for part in loss_and_gradient(x[k]))
        losses.append(loss)
        at_last_check = loss if at_last_check is None else at_last_check
        if loss < best[0]:
            best = (loss, x[k], gradient)
        here = x[k]
        if k in checkpoints:
            lowered = sum(losses[i + 1] < losses[i] for i in range(mark, k))
            halve = bool(lowered < rho * (k - mark) or (not halved_last and best[0] == at_last_check))
            if halve:
                eta, (_, here, gradient) = eta / 2, best
            halved_last, at_last_check, mark = halve, best[0], k
        sizes.append(eta)
        path.append(here)
        direction = np.sign(gradient) if norm == "linf" else gradient / np.linalg.norm(gradient)
        stepped = projected(norm, here - eta * direction, clean, epsilon)
        if k == 0:
            x.append(stepped)
        else:
            x.append(projected(norm, here + 0.75 * (stepped - here) + 0.25 * (here - path[k - 1]), clean, epsilon))
    return np.array(x[:-1]), np.array(sizes)


def iterates(norm, clean, epsilon, steps):
    """What the attack asks, and its step sizes."""
    attack = apgd(Threat(norm, epsilon), Apgd(steps))
    state = attack.init(jax.random.key(0), clean, clean)
    asked, sizes = [], []
    tell = jax.jit(attack.tell)
    for k in range(steps + 1):
        queries = attack.ask(jax.random.fold_in(jax.random.key(1), k), state)
        loss, gradient = loss_and_gradient(queries.images[0])
        state = tell(state, queries, Answer(Slope(loss[None], gradient[None]), jnp.array([False])))
        asked.append(np.asarray(queries.images[0]))
        sizes.append(float(state.step))
    return np.array(asked), np.array(sizes), state


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_iterate_is_the_algorithms(norm):
    clean = np.random.default_rng(4).uniform(0.2, 0.8, SHAPE).astype(np.float32)
    epsilon = 0.1 if norm == "linf" else 0.5
    asked, sizes, state = iterates(norm, jnp.asarray(clean), epsilon, 100)
    expected, expected_sizes = by_hand(norm, clean, asked[0], epsilon, 100)
    np.testing.assert_allclose(sizes, expected_sizes, rtol=1e-6)
    np.testing.assert_allclose(asked, expected, atol=2e-5)
    assert len(set(sizes)) > 3  # the step was halved more than twice
    losses = [float(loss_and_gradient(image)[0]) for image in asked]
    assert float(state.incumbent.value) == pytest.approx(min(losses), abs=1e-5)


def test_checkpoints_of_a_hundred_steps_are_the_papers():
    length, shorter, shortest = window_lengths(100)
    reached, checkpoints = 0, []
    while reached + length <= 100:
        reached += length
        checkpoints.append(reached)
        length = max(length - shorter, shortest)
    assert checkpoints == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize(("settings", "name"), [(Apgd(0), "steps"), (Apgd(rho=1.0), "rho"), (Apgd(rho=0.0), "rho")])
def test_settings_outside_their_range_are_refused(settings, name):
    with pytest.raises(ValueError, match=name):
        apgd(Threat(), settings)
