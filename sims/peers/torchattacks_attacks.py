"""torchattacks 3.5.1: Square, which is AutoAttack's, and SPSA, which is AdverTorch's."""
# pyright: reportMissingImports=false

from typing import Any

import numpy as np

from sims.attacks.table import read_attack
from sims.peers.adapter import CountingVictim, torch_module
from sims.peers.peer import Peer, Task

SAMPLES, RATE = 10, 0.3  # of SPSA, as ours: pairs of probes per step, learning rate in units of epsilon


def _tensors(task: Task) -> tuple[Any, Any]:
    import torch

    torch.manual_seed(task.seed)
    torch.set_num_threads(1)  # its arrays are small, and the network has threads of its own
    images = torch.from_numpy(np.ascontiguousarray(task.images.transpose(0, 3, 1, 2)))
    return images, torch.from_numpy(task.labels.astype(np.int64))


def square(victim: CountingVictim, task: Task) -> int:
    """Square; its own rows beside the search: the clean image, the start, and the result once more."""
    import torchattacks

    class CountedSquare(torchattacks.Square):
        counted = 0

        def attack_single_run(self, x, y):  # it counts, and then drops the count
            queries, adversarial = super().attack_single_run(x, y)
            self.counted += int(queries.sum())
            return queries, adversarial

    images, labels = _tensors(task)
    steps = max(task.query_budget - 3, 1)
    attack = CountedSquare(torch_module(victim), "Linf", task.epsilon, n_queries=steps, seed=task.seed)
    attack(images, labels)
    return attack.counted


def spsa(victim: CountingVictim, task: Task) -> None:
    """SPSA with as many steps as the budget pays for, and one row for the result, which it never queries."""
    import torchattacks

    images, labels = _tensors(task)
    module = torch_module(victim)
    steps = (task.query_budget - 1) // (2 * SAMPLES)
    attack = torchattacks.SPSA(
        module, task.epsilon, lr=RATE * task.epsilon, nb_iter=steps, nb_sample=SAMPLES, max_batch_size=SAMPLES
    )
    module(attack(images, labels))


PEERS = (
    Peer(
        "square-torchattacks",
        "torchattacks",
        read_attack("square"),
        "linf",
        "ball",
        None,
        True,
        square,
        "one square and one sign pattern for the whole batch",
    ),
    Peer(
        "spsa-torchattacks",
        "torchattacks",
        read_attack("spsa"),
        "linf",
        "ball",
        None,
        True,
        spsa,
        "probes leave the box; one direction for the whole batch; never stops early",
    ),
)
