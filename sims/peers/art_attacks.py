"""ART 1.20.1: Square, SimBA, Boundary, HopSkipJump, GeoDA and Sign-OPT.

Its black-box attacks draw from NumPy's global generator, and all but Square loop over the images themselves.
"""
# pyright: reportMissingImports=false

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from sims.attacks.score.frequencies import cosines
from sims.attacks.table import read_attack
from sims.peers.account import BudgetSpent
from sims.peers.adapter import CountingVictim, art_classifier
from sims.peers.peer import Peer, Task

FREQUENCIES, TOLERANCE = 16, 0.0001  # of GeoDA: better on 32 × 32 pixels than its defaults, 10 and 0.1


def _attack(name: str, victim: CountingVictim, task: Task, probabilities: bool = False, **settings: Any) -> Any:
    from art.attacks import evasion

    np.random.seed(task.seed)  # noqa: NPY002
    return getattr(evasion, name)(art_classifier(victim, probabilities), verbose=False, **settings)


def square(victim: CountingVictim, task: Task) -> None:
    """Square, cut at the budget: an iteration costs an image up to three rows."""
    attack = _attack("SquareAttack", victim, task, eps=task.epsilon, max_iter=max(task.query_budget // 3, 1))
    attack.generate(task.images, task.labels)


def simba(victim: CountingVictim, task: Task) -> None:
    """SimBA on pixels with the paper's step, cut at the budget."""
    attack = _attack("SimBA", victim, task, True, attack="px", epsilon=0.2, max_iter=task.query_budget)
    attack.generate(task.images, _one_hot(victim, task))


def simba_dct(victim: CountingVictim, task: Task) -> None:
    """SimBA on DCT frequencies with the paper's step, cut at the budget."""
    attack = _attack("SimBA", victim, task, True, attack="dct", epsilon=0.2, max_iter=task.query_budget)
    attack.generate(task.images, _one_hot(victim, task))


def boundary(victim: CountingVictim, task: Task) -> None:
    """Boundary from the starts, cut at the budget."""
    attack = _attack("BoundaryAttack", victim, task, targeted=False)
    attack.generate(task.images, task.labels, x_adv_init=task.starts)


def hop_skip_jump(victim: CountingVictim, task: Task) -> None:
    """HopSkipJump from the starts, cut at the budget."""
    attack = _attack("HopSkipJump", victim, task, max_iter=task.query_budget)
    attack.generate(task.images, task.labels, x_adv_init=task.starts)


def geoda(victim: CountingVictim, task: Task) -> int:
    """GeoDA, given the start that it would otherwise look for in noise, and the DCT basis it cannot make itself.

    It builds the basis with a function that NumPy 2 removed, but reads it from the working folder when it lies there.
    """
    side = min(FREQUENCIES, victim.image_shape[0])
    attack = _attack("GeoDA", victim, task, max_iter=task.query_budget, sub_dim=side, bin_search_tol=TOLERANCE)
    attack._find_random_adversarial = lambda x, y: task.starts[:1]
    with _folder_with_basis(side, victim.image_shape[0]), contextlib.suppress(BudgetSpent):
        attack.generate(task.images, task.labels)
    return attack.nb_calls


def sign_opt(victim: CountingVictim, task: Task) -> None:
    """Sign-OPT along the direction of the start, which replaces its one random initial direction.

    Slopes per gradient as ours: its 200 would leave four steps of 1,000 queries.
    """
    direction = (task.starts - task.images)[0]
    budget = task.query_budget
    slopes = max(min(200, budget // 20), 1)
    attack = _attack("SignOPTAttack", victim, task, targeted=False, num_trial=1, k=slopes, query_limit=budget)
    draw = np.random.randn
    drawn: list[Any] = [direction.copy()]
    with mock.patch("numpy.random.randn", lambda *shape: drawn.pop() if drawn else draw(*shape)):
        attack.generate(task.images, task.labels)


def _one_hot(victim: CountingVictim, task: Task) -> np.ndarray:
    return np.eye(victim.num_classes, dtype=np.float32)[task.labels]


@contextlib.contextmanager
def _folder_with_basis(frequencies: int, side: int) -> Iterator[None]:
    """Work in a temporary folder that holds the file GeoDA looks for."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / f"2d_dct_basis_{frequencies}_{side}.npy", dct_basis(frequencies, side))
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)


def dct_basis(frequencies: int, side: int) -> np.ndarray:
    """(side², frequencies²) the orthonormal two-dimensional cosines of the lowest frequencies, one per column."""
    waves = cosines(side, frequencies)
    return np.einsum("yv,xu->yxuv", waves, waves).reshape(side**2, frequencies**2)


LOOPS = "one image at a time"
SIGN_OPT = f"{LOOPS}; untargeted takes no start"
SIMBA = f"{LOOPS}; always asks for both signs; lowers the probability, which float32 rounds to 1 from a margin of 17 on"
GEODA = (
    f"{LOOPS}; fails under NumPy 2 without our basis; its default tolerance of 0.1 leaves probes of 0.0002 on one side"
)

PEERS = (
    Peer(
        "square-art",
        "art",
        read_attack("square"),
        "linf",
        "ball",
        None,
        True,
        square,
        "three forward passes a step, one of them also of images already broken; one square for the whole batch",
    ),
    Peer("simba-art", "art", read_attack("simba"), "l2", "any", 1, False, simba, SIMBA),
    Peer("simba-dct-art", "art", read_attack("simba-dct"), "l2", "any", 1, False, simba_dct, SIMBA),
    Peer("hop-skip-jump-art", "art", read_attack("hop-skip-jump"), "l2", "closest", 1, False, hop_skip_jump, LOOPS),
    Peer("boundary-art", "art", read_attack("boundary"), "l2", "closest", 1, False, boundary, LOOPS),
    Peer("geoda-art", "art", read_attack("geoda"), "l2", "closest", 1, False, geoda, GEODA),
    Peer(
        "sign-opt-art",
        "art",
        read_attack("sign-opt"),
        "l2",
        "closest",
        1,
        False,
        sign_opt,
        SIGN_OPT,
    ),
)
