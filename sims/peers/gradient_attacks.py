"""White-box attacks of torchattacks 3.5.1 and AutoAttack (pyautoattack 0.2.0) beside ours, on `gradients`' module."""
# pyright: reportMissingImports=false

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from defenses.options.names import Choice
from sims.attacks.ball import Norm
from sims.white_box.table import read_white_box

BATCH = 128  # images given together; each is attacked as if alone, but for the random starts
STEPS, STEP_FRACTION = 50, 0.25  # of PGD


class GradientTask(NamedTuple):
    """What a peer is given: images (n, h, w, c) float32 in [0, 1], labels (n,), radius and seed of its starts."""

    images: Float[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, " n"]
    epsilon: float
    seed: int


class GradientPeer(NamedTuple):
    """A public white-box attack beside one of ours.

    name: of the pair, our attack and the library. library: what Python imports. ours: our attack.
    limit: how far apart the two robust accuracies may be.
    run: (module, images, labels, task) -> its images; tensors (n, c, h, w) and (n,).
    """

    name: str
    library: str
    ours: Choice
    norm: Norm
    limit: float
    run: Callable[[Any, Any, Any, GradientTask], Any]


def run_gradient_peer(
    peer: GradientPeer, module: Any, task: GradientTask, advance: Callable[[int], None] = lambda done: None
) -> Float[np.ndarray, "n h w c"]:
    """The images that the peer returns, `BATCH` at a time. module: of `differentiable_module`."""
    import torch

    torch.set_num_threads(1)  # its arrays are small, and the network has threads of its own
    torch.manual_seed(task.seed)
    parts = []
    for start in range(0, len(task.images), BATCH):
        chunk = slice(start, start + BATCH)
        images = torch.from_numpy(np.ascontiguousarray(task.images[chunk].transpose(0, 3, 1, 2)))
        labels = torch.from_numpy(task.labels[chunk].astype(np.int64))
        moved = peer.run(module, images, labels, task._replace(seed=task.seed + start))
        parts.append(moved.detach().numpy().transpose(0, 2, 3, 1))
        advance(min(start + BATCH, len(task.images)))
    return np.concatenate(parts)


def _pgd(module, images, labels, task: GradientTask):
    import torchattacks

    attack = torchattacks.PGD(module, eps=task.epsilon, alpha=STEP_FRACTION * task.epsilon, steps=STEPS)
    return attack(images, labels)


def _pgd_l2(module, images, labels, task: GradientTask):
    import torchattacks

    attack = torchattacks.PGDL2(module, eps=task.epsilon, alpha=STEP_FRACTION * task.epsilon, steps=STEPS)
    return attack(images, labels)


def _apgd(loss: str, norm: str):
    def run(module, images, labels, task: GradientTask):
        from pyautoattack.autopgd_base import APGDAttack

        attack = APGDAttack(module, norm=norm, eps=task.epsilon, loss=loss, seed=task.seed, device="cpu")
        return attack.perturb(images, labels)

    return run


def _standard(module, images, labels, task: GradientTask):
    from pyautoattack import AutoAttack

    attack = AutoAttack(module, eps=task.epsilon, seed=task.seed, device="cpu")
    moved, _ = attack.run_standard_evaluation(images, labels, batch_size=BATCH)
    return moved


HALF_A_POINT, A_POINT = 0.005, 0.01
PGD_50 = read_white_box(f"pgd:steps={STEPS},step_fraction={STEP_FRACTION}")
APGD_CE, APGD_DLR = read_white_box("apgd-ce"), read_white_box("apgd-dlr")
GRADIENT_PEERS: dict[str, GradientPeer] = {
    peer.name: peer
    for peer in (
        GradientPeer("pgd-torchattacks", "torchattacks", PGD_50, "linf", HALF_A_POINT, _pgd),
        GradientPeer("apgd-ce-autoattack", "pyautoattack", APGD_CE, "linf", HALF_A_POINT, _apgd("ce", "Linf")),
        GradientPeer("apgd-dlr-autoattack", "pyautoattack", APGD_DLR, "linf", HALF_A_POINT, _apgd("dlr", "Linf")),
        GradientPeer("ensemble-autoattack", "pyautoattack", read_white_box("ensemble"), "linf", A_POINT, _standard),
        GradientPeer("pgd-l2-torchattacks", "torchattacks", PGD_50, "l2", HALF_A_POINT, _pgd_l2),
        GradientPeer("apgd-ce-l2-autoattack", "pyautoattack", APGD_CE, "l2", HALF_A_POINT, _apgd("ce", "L2")),
        GradientPeer("apgd-dlr-l2-autoattack", "pyautoattack", APGD_DLR, "l2", HALF_A_POINT, _apgd("dlr", "L2")),
    )
}


def find_gradient_peer(name: str) -> GradientPeer:
    """The pair of that name; ValueError lists the known ones."""
    if name not in GRADIENT_PEERS:
        raise ValueError(f"pairs must be of {', '.join(GRADIENT_PEERS)}, got {name!r}")
    return GRADIENT_PEERS[name]
