"""Foolbox 3.3.4: Boundary, HopSkipJump, and its evolution-strategies estimator under PGD."""
# pyright: reportMissingImports=false

from typing import Any

import numpy as np

from sims.attacks.table import read_attack
from sims.peers.adapter import CountingVictim, foolbox_model
from sims.peers.peer import Peer, Task

SAMPLES = 20  # probes per gradient estimate


def _tensors(task: Task) -> tuple[Any, Any, Any]:
    import torch

    torch.manual_seed(task.seed)
    torch.set_num_threads(1)  # its arrays are small, and the network has threads of its own
    images, starts = (
        torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 3, 1, 2))) for rows in (task.images, task.starts)
    )
    return images, torch.from_numpy(task.labels.astype(np.int64)), starts


def boundary(victim: CountingVictim, task: Task) -> None:
    """Boundary from the starts, cut at the budget."""
    import foolbox

    images, labels, starts = _tensors(task)
    attack = foolbox.attacks.BoundaryAttack(steps=task.query_budget)
    attack.run(foolbox_model(victim), images, labels, starting_points=starts)


def hop_skip_jump(victim: CountingVictim, task: Task) -> None:
    """HopSkipJump from the starts, cut at the budget."""
    import foolbox

    images, labels, starts = _tensors(task)
    attack = foolbox.attacks.HopSkipJumpAttack(steps=task.query_budget)
    attack.run(foolbox_model(victim), images, labels, starting_points=starts)


def evolution_strategies(victim: CountingVictim, task: Task) -> None:
    """ℓ∞ PGD on the estimator with our NES's settings, as many steps as the budget pays for, one row for the result."""
    import foolbox

    images, labels, _ = _tensors(task)
    estimated = foolbox.gradient_estimators.es_gradient_estimator(
        foolbox.attacks.LinfPGD, samples=SAMPLES, sigma=0.01, bounds=(0, 1), clip=True
    )
    steps = (task.query_budget - 1) // (SAMPLES + 1)
    model = foolbox_model(victim)
    attack = estimated(rel_stepsize=0.2, steps=steps, random_start=False)
    model(attack.run(model, images, labels, epsilon=task.epsilon))


PEERS = (
    Peer(
        "nes-foolbox",
        "foolbox",
        read_attack("nes"),
        "linf",
        "ball",
        1,
        True,
        evolution_strategies,
        "the loss is the sum over the batch: every image's estimate carries the noise of all others",
    ),
    Peer(
        "hop-skip-jump-foolbox",
        "foolbox",
        read_attack("hop-skip-jump"),
        "l2",
        "closest",
        1,
        True,
        hop_skip_jump,
        "one norm over the whole batch: the step shrinks with the batch",
    ),
    Peer(
        "boundary-foolbox",
        "foolbox",
        read_attack("boundary"),
        "l2",
        "closest",
        None,
        True,
        boundary,
        "one direction for the whole batch",
    ),
)
